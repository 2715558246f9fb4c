"""One forward pass of a network of our own: what its detector goes by, and torch as what works it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.detectors.attention import AttentionRecord, watch
from pipeline.detectors.cross_attention import Decoder
from pipeline.detectors.modules.features import FeatureNetwork
from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.torch_chips import PRECISIONS, fold_normalisation


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a network answers of B chips, N times each."""

    scores: Tensor
    """(B, N, classes), 0 to 1."""
    boxes: Tensor
    """(B, N, 5) canonical, pixels of the chip."""
    difference: Tensor | None = None
    """(B, 1, H, W), of networks that reconstruct."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runnable:
    """A network and how it is run: what torch and ONNX Runtime both need to know of it."""

    network: FeatureNetwork
    """In eval mode, its normalisation folded away."""
    answer: Callable[[Any, Tensor, Any, Original | None], Answer]
    """(network, normalised (B, C, H, W) pixels, how many queries, originals) → what it answers."""
    decoder: Decoder | None = None
    """Whose deformable cross-attention tells where it looked; None for a network that has none."""
    detr: bool = False
    """Files that are given away hold what those of DETR's kind do: logits, and boxes as shares of the picture's sides.
    Else scores, and boxes in pixels."""


class Pass(Protocol):
    """What works a forward pass out."""

    def __call__(
        self, pixels: Tensor, queries: int, original: Original | None, attention: bool
    ) -> tuple[Answer, AttentionRecord]:
        """The answer to (B, C, H, W) normalised pixels and, if it was asked for, where the network looked."""
        ...


class TorchPass:
    """By torch, on any device, in any precision."""

    def __init__(self, runnable: Runnable, device: torch.device, precision: str) -> None:
        """The network is moved to ``device``."""
        runnable.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._runnable, self._device, self._precision = runnable, device, PRECISIONS[precision]

    def __call__(
        self, pixels: Tensor, queries: int, original: Original | None, attention: bool
    ) -> tuple[Answer, AttentionRecord]:
        """See :class:`Pass`."""
        runnable = self._runnable
        autocast = torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32)
        with watch(runnable.decoder if attention else None) as record, autocast:
            answer = runnable.answer(runnable.network, pixels, queries, original)
        return answer, record


def folded(network: FeatureNetwork) -> FeatureNetwork:
    """``network`` in eval mode; it is changed: convolutions swallow their batch normalisation."""
    return fold_normalisation(network.eval())
