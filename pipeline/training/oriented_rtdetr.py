"""How the oriented RT-DETR is trained: normalised tiles, denoising queries, the criterion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.torch_chips import normalise
from pipeline.training.data.batches import Batch
from pipeline.training.losses.criterion import criterion
from pipeline.training.losses.denoising import make_denoising
from pipeline.training.normalisation import pixel_statistics
from pipeline.types import ModelCard

LARGEST_CHIP_PX = 1280
"""Tiles pretend to lie anywhere in a chip of this side, so that chips up to this size mean the same."""


class OrientedLearner:
    """The oriented RT-DETR as a :class:`~pipeline.training.learner.Learner`."""

    def __init__(
        self, network: OrientedRTDetr, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        """``mean`` and ``std`` of pixels / 255, one value a band, as the network's card will have them; without them
        those that its backbone expects."""
        self._network = network
        expected = pixel_statistics(network.config.backbone, network.config.bands)
        self.mean, self.std = tuple(mean or expected[0]), tuple(std or expected[1])

    @property
    def network(self) -> OrientedRTDetr:
        return self._network

    @property
    def telling(self) -> tuple[str, ...]:
        last = len(self._network.decoder) - 1
        return ("token_class", "token_kld", f"class_{last}", f"l1_{last}", f"angle_{last}", f"kld_{last}")

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See :meth:`pipeline.training.learner.Learner.losses`."""
        network, device = self._network, batch.pixels.device
        mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (self.mean, self.std))
        pixels = normalise(batch.pixels, mean, std)
        noisy = make_denoising(batch.targets, network.label_embedding, network.config.queries, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = network(pixels, noisy and noisy.queries, noisy and noisy.mask, _origin(pixels, generator))
        return criterion(output, batch.targets, noisy)

    def config(self) -> dict[str, Any]:
        return self._network.config.to_json()

    def detector(self, network: nn.Module, card: ModelCard) -> OrientedDetector:
        """See :meth:`pipeline.training.learner.Learner.detector`."""
        if not isinstance(network, OrientedRTDetr):
            raise TypeError(f"an oriented detector is made of an OrientedRTDetr, not of a {type(network).__name__}")
        return OrientedDetector(network, card, str(next(network.parameters()).device))


def _origin(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1, 2) where each tile of (B, C, H, W) pretends to lie, pixels."""
    free = max(0, LARGEST_CHIP_PX - pixels.shape[-1])
    return (torch.rand(len(pixels), 1, 2, generator=generator) * free).to(pixels.device)
