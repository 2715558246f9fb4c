"""How the oriented RT-DETR is trained: normalised tiles, denoising queries, the criterion."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_rtdetr.decoder_record import DecoderRecord, record_decoder
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.oriented_rtdetr.folder import FOLDER
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.detectors.torch_chips import normalise
from pipeline.training.data.batches import Batch
from pipeline.training.losses.better_sampling import LayerSampling, WeightGenerator, expansions
from pipeline.training.losses.criterion import PLAIN, criterion
from pipeline.training.losses.denoising import make_denoising
from pipeline.training.losses.dynamic_balance import DynamicBalance
from pipeline.training.losses.feature_modules import feature_module_losses
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.normalisation import pixel_statistics
from pipeline.training.ranks import count_over_all, own_rows
from pipeline.types import ModelCard

LARGEST_CHIP_PX = 1280
"""Tiles pretend to lie anywhere in a chip of this side, so that chips up to this size mean the same."""


class OrientedLearner:
    """The oriented RT-DETR as a :class:`~pipeline.training.learner.Learner`."""

    def __init__(
        self, network: OrientedRTDetr, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
        losses: RTDETRLosses = PLAIN,
    ) -> None:  # fmt: skip
        """``mean`` and ``std`` of pixels / 255, one value a band, as the network's card will have them; without them
        those that its backbone expects."""
        self._network = network
        expected = pixel_statistics(network.config.backbone, network.config.bands)
        self.mean, self.std = tuple(mean or expected[0]), tuple(std or expected[1])
        self._settings = losses
        width = network.config.width
        self._generators = [WeightGenerator(width) for _ in network.decoder] if losses.sample_weights else []
        self._balance = DynamicBalance() if losses.dynamic_balance else None
        kept = {"generators": nn.ModuleList(self._generators) if self._generators else None, "balance": self._balance}
        there = {name: module for name, module in kept.items() if module is not None}
        self._auxiliary = nn.ModuleDict(there) if there else None

    @property
    def network(self) -> OrientedRTDetr:
        return self._network

    @property
    def auxiliary(self) -> nn.Module | None:
        """The weight generators of re-weighting, one a decoder layer since each has heads of its own, and what the
        balance of sizes remembers."""
        return self._auxiliary

    @property
    def telling(self) -> tuple[str, ...]:
        last = len(self._network.decoder) - 1
        of_last = ("class", "l1", "angle", "kld", "offset", "attention", "difficulty")
        return ("token_class", "token_kld", "foreground", "reconstruction", *(f"{name}_{last}" for name in of_last))

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See :meth:`pipeline.training.learner.Learner.losses`."""
        network, device = self._network, batch.pixels.device
        pixels = normalise(batch.pixels, self.mean, self.std)
        original = Original.of(pixels, self.mean, self.std) if network.config.reconstructs else None
        proposals = network.config.queries_of(*pixels.shape[2:])
        noisy = make_denoising(batch.targets, network.label_embedding, proposals, generator)
        look: AbstractContextManager[DecoderRecord | None] = (
            record_decoder(network) if self._settings.look_inside else nullcontext()
        )
        with look as record, torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = network(
                pixels, noisy and noisy.queries, noisy and noisy.mask, _origin(pixels, generator), original=original
            )
        sampling = None if record is None else self._sampling(record)
        losses = criterion(output, batch.targets, noisy, self._settings, sampling, self._balance)
        strides = network.config.strides
        return losses | feature_module_losses(output.features, original, strides, batch.targets, self._settings)

    def _sampling(self, record: DecoderRecord) -> list[LayerSampling]:
        etas = expansions(self._settings.eta, len(record.layers))
        generators: Sequence[WeightGenerator | None] = self._generators or [None] * len(etas)
        return [
            LayerSampling(record=layer, eta=eta, generator=generator)
            for layer, eta, generator in zip(record.layers, etas, generators, strict=True)
        ]

    def config(self) -> dict[str, Any]:
        return FOLDER.settings(self._network.config)

    def detector(self, network: nn.Module, card: ModelCard) -> OrientedDetector:
        """See :meth:`pipeline.training.learner.Learner.detector`."""
        if not isinstance(network, OrientedRTDetr):
            raise TypeError(f"an oriented detector is made of an OrientedRTDetr, not of a {type(network).__name__}")
        return OrientedDetector(network, card, str(next(network.parameters()).device))


def _origin(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1, 2) where each tile of (B, C, H, W) pretends to lie, pixels."""
    free = max(0, LARGEST_CHIP_PX - pixels.shape[-1])
    tiles = count_over_all(len(pixels), pixels.device)
    return (torch.rand(tiles, 1, 2, generator=generator)[own_rows(tiles)] * free).to(pixels.device)
