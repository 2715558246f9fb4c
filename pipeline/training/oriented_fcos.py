"""How the oriented FCOS is trained: normalised tiles, and what every point of them is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.detectors.modules.reconstruction import Original
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_fcos.folder import FOLDER
from pipeline.detectors.oriented_fcos.network import OrientedFCOS
from pipeline.detectors.torch_chips import normalise
from pipeline.training.data.batches import Batch
from pipeline.training.losses.dynamic_balance import DynamicBalance
from pipeline.training.losses.fcos import PLAIN, fcos_losses
from pipeline.training.losses.feature_modules import feature_module_losses
from pipeline.training.losses.settings import FCOSLosses
from pipeline.training.normalisation import pixel_statistics
from pipeline.types import ModelCard


class FCOSLearner:
    """The oriented FCOS as a :class:`~pipeline.training.learner.Learner`."""

    def __init__(
        self, network: OrientedFCOS, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
        losses: FCOSLosses = PLAIN,
    ) -> None:  # fmt: skip
        """``mean`` and ``std`` of pixels / 255, one value a band, as the network's card will have them; without them
        those that its backbone expects."""
        self._network, self._settings = network, losses
        expected = pixel_statistics(network.config.backbone, network.config.bands)
        self.mean, self.std = tuple(mean or expected[0]), tuple(std or expected[1])
        self._balance = DynamicBalance() if losses.dynamic_balance else None

    @property
    def network(self) -> OrientedFCOS:
        return self._network

    @property
    def auxiliary(self) -> DynamicBalance | None:
        """What the balance of sizes remembers; nothing learns beside the network."""
        return self._balance

    @property
    def telling(self) -> tuple[str, ...]:
        return ("class", "l1", "angle", "kld", "quality", "foreground", "reconstruction")

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See :meth:`pipeline.training.learner.Learner.losses`. There is no chance in it."""
        device = batch.pixels.device
        network, settings = self._network, self._settings
        pixels = normalise(batch.pixels, self.mean, self.std)
        original = Original.of(pixels, self.mean, self.std) if network.config.reconstructs else None
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = network(pixels, original)
        losses = fcos_losses(output, batch.targets, settings, self._balance)
        strides = network.config.strides
        return losses | feature_module_losses(output.features, original, strides, batch.targets, settings)

    def config(self) -> dict[str, Any]:
        return FOLDER.settings(self._network.config)

    def detector(self, network: nn.Module, card: ModelCard) -> OrientedFCOSDetector:
        """See :meth:`pipeline.training.learner.Learner.detector`."""
        if not isinstance(network, OrientedFCOS):
            raise TypeError(f"an oriented FCOS is made of an OrientedFCOS, not of a {type(network).__name__}")
        return OrientedFCOSDetector(network, card, str(next(network.parameters()).device))
