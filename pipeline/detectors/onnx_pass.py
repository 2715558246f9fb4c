"""ONNX Runtime in torch's place on a CPU: the same network, traced when the detector is loaded, held in memory.

What comes before and after it, from chips to detections and attention maps, is the same code either way; where the
decoder looked is an output of the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.detectors.attention import AttentionRecord
from pipeline.detectors.cross_attention import Samples
from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.onnx_graphs import (
    BOXES,
    DIFFERENCE,
    LOCATIONS,
    ORIGINAL,
    PIXELS,
    QUERIES,
    SCORES,
    SHOWN,
    WEIGHTS,
    TracedPass,
    pass_graph,
)
from pipeline.detectors.onnx_model.session import NO_ROOM, session_options
from pipeline.detectors.onnx_runtime import import_onnxruntime
from pipeline.detectors.passes import Answer, Runnable
from pipeline.detectors.runtime import PROVIDER
from pipeline.errors import ModelError, one_sentence


class OnnxPass:
    """By ONNX Runtime, on the CPU, in float32. Implements :class:`~pipeline.detectors.passes.Pass`."""

    def __init__(self, runnable: Runnable, threads: int | None) -> None:
        """Traces the network, which takes about a second for the embedded one; ``threads`` None: as many as torch has.

        Raises ModelError where it cannot be traced.
        """
        self._strides = runnable.network.config.strides
        self._traced = pass_graph(runnable)
        self._session = session(self._traced, threads or torch.get_num_threads())
        self._inputs = {one.name for one in self._session.get_inputs()}

    def __call__(
        self, pixels: Tensor, queries: int, original: Original | None, attention: bool
    ) -> tuple[Answer, AttentionRecord]:
        """See :class:`~pipeline.detectors.passes.Pass`. Raises ModelError, or MemoryError for too large a batch."""
        sizes = tuple((pixels.shape[2] // stride, pixels.shape[3] // stride) for stride in self._strides)
        count = min(queries, sum(rows * columns for rows, columns in sizes))
        fed = {PIXELS: pixels, QUERIES: torch.tensor(count)}
        if original is not None:
            fed |= {ORIGINAL: original.pixels, SHOWN: original.shown}
        layers = range(self._traced.layers if attention else 0)
        names = [SCORES, BOXES, *([DIFFERENCE] if original is not None else [])]
        names += [f"{name}_{layer}" for layer in layers for name in (LOCATIONS, WEIGHTS)]
        found = self._run(names, {name: tensor for name, tensor in fed.items() if name in self._inputs})
        levels, nearest = self._traced.levels, self._traced.nearest
        samples = [
            Samples(found[f"{LOCATIONS}_{layer}"], found[f"{WEIGHTS}_{layer}"], levels, sizes, nearest)
            for layer in layers
        ]
        return Answer(found[SCORES], found[BOXES], found.get(DIFFERENCE)), AttentionRecord(samples)

    def _run(self, names: list[str], fed: dict[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in fed.items()}
        try:
            answers = self._session.run(names, arrays)
        except Exception as error:  # the runtime has a dozen classes of errors without a common one
            shape = " x ".join(map(str, arrays[PIXELS].shape))
            if any(words in str(error) for words in NO_ROOM):
                raise MemoryError(f"onnxruntime has no room for chips of {shape} ({one_sentence(error)})") from error
            raise ModelError(f"onnxruntime cannot look at chips of {shape}: {one_sentence(error)}") from error
        return {name: torch.from_numpy(answer) for name, answer in zip(names, answers, strict=True)}


def session(traced: TracedPass, threads: int) -> Any:
    """The graph, ready to run on so many threads. Raises ModelError where the runtime refuses it."""
    library = import_onnxruntime()
    try:
        return library.InferenceSession(traced.graph, session_options(library, threads), providers=[PROVIDER])
    except Exception as error:  # of the runtime's dozen classes, as above
        raise ModelError(
            f"onnxruntime {library.__version__} cannot run the network ({one_sentence(error)}): say "
            "detector.runtime=torch, or install a newer one"
        ) from error
