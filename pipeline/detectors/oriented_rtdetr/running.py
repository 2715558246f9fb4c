"""How an oriented RT-DETR is run, by torch or by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_rtdetr.deformable_attention import decoder_of
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.passes import Answer, Runnable, folded
from pipeline.detectors.torch_boxes import canonical


def runnable(network: OrientedRTDetr) -> Runnable:
    """``network`` is taken over and changed: convolutions swallow their batch normalisation."""
    return Runnable(network=folded(network), answer=answer, decoder=decoder_of(network), detr=True)


def answer(network: OrientedRTDetr, pixels: Tensor, queries: Any, original: Original | None) -> Answer:
    """(B, C, H, W) normalised → ``queries`` answers a chip; a number, or the one of a graph that is being traced."""
    output = network(pixels, queries=queries, original=original)
    # Every decoder layer judges the same queries; their mean ranks better than the last alone (see the card).
    scores = torch.stack([layer.logits for layer in output.layers]).sigmoid().mean(0)
    return Answer(scores, canonical(output.layers[-1].boxes.float()), output.features.difference)
