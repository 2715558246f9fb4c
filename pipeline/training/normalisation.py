"""What is subtracted from pixels and what they are divided by; a card says the same of what is trained."""

from __future__ import annotations

from pipeline.detectors.modules import efficientnet_lite
from pipeline.detectors.modules.features import RESNET, FeaturesConfig
from pipeline.detectors.transformers_detr.folder import LibraryConfig

PIXEL_MEAN = PIXEL_STD = 0.25
"""Of pixels / 255, for backbones that learn from nothing."""


def pixel_statistics(backbone: str, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels / 255, one value a band, as the weights of ``backbone`` expect them."""
    if backbone == RESNET:
        return (PIXEL_MEAN,) * bands, (PIXEL_STD,) * bands
    return (efficientnet_lite.PIXEL_MEAN,) * bands, (efficientnet_lite.PIXEL_STD,) * bands


def statistics_of(config: FeaturesConfig | LibraryConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels / 255 that a network of that configuration begins with: a checkpoint's own."""
    if isinstance(config, LibraryConfig):
        return config.mean, config.std
    return pixel_statistics(config.backbone, config.bands)
