"""What the modules between neck and head are asked for, whatever head stands behind them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pipeline.detectors.modules.features import Features
from pipeline.detectors.modules.reconstruction import Original
from pipeline.training.data.batches import Target
from pipeline.training.losses.foreground import foreground_losses
from pipeline.training.losses.reconstruction import reconstruction_losses
from pipeline.training.losses.settings import FCOSLosses, RTDETRLosses


def feature_module_losses(
    features: Features, original: Original | None, strides: Sequence[int], targets: Sequence[Target],
    settings: RTDETRLosses | FCOSLosses,
) -> dict[str, Tensor]:  # fmt: skip
    """Scalar losses by name of the modules that the network has; ``strides`` of the pyramid, finest first."""
    masks = foreground_losses(features.foreground, strides, targets, settings.foreground_weight)
    return masks | reconstruction_losses(features, original, settings.reconstruction_weight)
