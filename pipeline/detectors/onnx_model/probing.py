"""The shapes of answers that a file does not declare: found by one look at a black picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.detectors.onnx_model.graph import Graph
from pipeline.detectors.onnx_model.network_input import Picture, feed, place, table
from pipeline.detectors.onnx_model.session import Session
from pipeline.errors import ModelError

SIDE_PX = 256
"""Of the picture, where the file takes any size: an anchor every 8 px makes more answers than there are classes."""


def is_vague(graph: Graph) -> bool:
    """Whether an output does not say how long its axes are, that over the batch aside."""
    return any(port.shape is None or None in port.shape[1:] for port in graph.outputs)


def probed(graph: Graph, picture: Picture, stride: int) -> tuple[Graph, int]:
    """The graph with the shapes that its outputs really have, and the pixels of the picture they are of.

    Raises ModelError where it cannot be run.
    """
    black = np.zeros((SIDE_PX, SIDE_PX, picture.bands), np.uint8)
    placed = place(black, picture, stride)
    fed = feed([placed], picture, table([0.0] * picture.bands, [1.0] * picture.bands, raw=picture.raw), 0)
    try:
        parts = Session(graph, device="cpu", threads=1).run([port.name for port in graph.outputs], fed)
    except MemoryError as error:
        raise ModelError(f"{error}: export it smaller") from error
    shapes = [tuple(side or None for side in part.shape) for part in parts]
    outputs = tuple(replace(port, shape=shape) for port, shape in zip(graph.outputs, shapes, strict=True))
    return replace(graph, outputs=outputs), placed.height * placed.width
