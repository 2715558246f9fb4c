"""The smallest learner: a network that learns how bright its tiles are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.detectors.protocol import Detector
from pipeline.training.data.batches import Batch
from pipeline.types import ModelCard


class Brightness(nn.Module):
    """(B, 3, H, W) in [0, 1] → (B, 1): one convolution, its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layer(pixels).mean((2, 3))


class BrightnessLearner:
    """Learns how bright a tile is. Nothing of a detector: the loop must ask for no more than the protocol says."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = Brightness()
        self.auxiliary = None
        self.telling = ("error", "absent")

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pixels = batch.pixels.permute(0, 3, 1, 2).float() / 255
        noise = 0.01 * torch.rand(pixels.shape, generator=generator)
        error = self.network(pixels + noise) - pixels.mean((1, 2, 3))[:, None]
        return {"error": error.square().mean(), "weight": 1e-4 * self.network.layer.weight.square().sum()}

    def config(self) -> dict[str, Any]:
        return {"model_type": "brightness", "kernel": 3}

    def detector(self, network: nn.Module, card: ModelCard) -> Detector:
        raise NotImplementedError
