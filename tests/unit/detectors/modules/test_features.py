"""Backbone and neck as a network's config describes them."""

from __future__ import annotations

import pytest
import torch

from pipeline.detectors.modules.features import FeatureNetwork, FeaturesConfig


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("backbone", ["resnet", "efficientnet_lite0"])
def test_a_pyramid_of_four_levels_for_any_number_of_bands(bands: int, backbone: str) -> None:
    network = FeatureNetwork(FeaturesConfig(bands=bands, backbone=backbone, width=32)).eval()
    levels = network.features(torch.rand(1, bands, 96, 64)).levels
    assert [tuple(level.shape) for level in levels] == [(1, 32, 24, 16), (1, 32, 12, 8), (1, 32, 6, 4), (1, 32, 3, 2)]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"backbone": "vgg"}, "backbone must be resnet or efficientnet_lite0, not 'vgg'"),
        (
            {"backbone": "efficientnet_lite0", "stage_channels": (8, 8)},
            "stage_channels and stage_depths are of the resnet",
        ),
        ({"bands": 0}, "bands must be at least 1, not 0"),
    ],
)
def test_what_contradicts_itself_is_refused(said: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FeaturesConfig(**said)  # type: ignore[arg-type]
