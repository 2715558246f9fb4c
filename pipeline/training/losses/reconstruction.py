"""What a reconstruction is told about itself (SR-TOD, arXiv 2405.11276): its mean squared error."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.detectors.modules.features import Features
from pipeline.detectors.modules.reconstruction import Original
from pipeline.training.ranks import over_all


def reconstruction_losses(features: Features, original: Original | None, weight: float) -> dict[str, Tensor]:
    """The loss by name, as a learner adds it to its others; of a network that does not reconstruct there is none."""
    if original is None or features.reconstruction is None:
        return {}
    return {"reconstruction": weight * reconstruction_loss(features.reconstruction, original)}


def reconstruction_loss(reconstruction: Tensor, original: Original) -> Tensor:
    """MSE of (B, bands, H, W) pictures over all bands and pixels that are shown; 0 where none is.

    Its gradient reaches pyramid and backbone, as in the official code.
    """
    error = torch.where(original.shown, reconstruction - original.pixels, 0.0)
    shown = original.shown.sum() * reconstruction.shape[1]
    return error.square().sum() / over_all(shown).clamp(min=1)
