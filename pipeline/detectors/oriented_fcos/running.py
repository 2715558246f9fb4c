"""How an oriented FCOS is run, by torch or by ONNX Runtime."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_fcos.network import OrientedFCOS
from pipeline.detectors.passes import Answer, Runnable, folded
from pipeline.detectors.torch_boxes import canonical


def runnable(network: OrientedFCOS) -> Runnable:
    """``network`` is taken over and changed: convolutions swallow the normalisation that only they have."""
    return Runnable(network=folded(network), answer=answer)


def answer(network: OrientedFCOS, pixels: Tensor, _queries: Any, original: Original | None) -> Answer:
    """(B, C, H, W) normalised → an answer of every point.

    The score is sqrt(class · quality), as FCOS with centre-ness and MOD with overlap.
    """
    output = network(pixels, original)
    scores = (output.logits.sigmoid() * output.quality.sigmoid()[..., None]).sqrt()
    return Answer(scores, canonical(output.boxes), output.features.difference)
