"""What the detectors trained here have alike: a card, and a network that torch or ONNX Runtime runs."""

from __future__ import annotations

import torch

from pipeline.detectors.passes import Pass, Runnable, TorchPass
from pipeline.types import ModelCard


class NetworkDetector:
    """Oriented boxes from chips of any size. Same chips, same weights, same threads: same numbers."""

    def __init__(self, runnable: Runnable, card: ModelCard, device: str, precision: str) -> None:
        """By torch, on ``device``, until :meth:`by_onnxruntime`."""
        self._card, self._runnable, self._device = card, runnable, torch.device(device)
        self._pass: Pass = TorchPass(runnable, self._device, precision)

    @property
    def card(self) -> ModelCard:
        return self._card

    def by_onnxruntime(self, threads: int | None) -> None:
        """From now on ONNX Runtime works the passes out. Raises ModelError where the network cannot be traced."""
        from pipeline.detectors.onnx_pass import OnnxPass  # late: an extra

        self._pass = OnnxPass(self._runnable, threads)
