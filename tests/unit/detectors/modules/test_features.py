"""Backbone and neck as a network's config describes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.detectors.modules.features import FeatureNetwork, FeaturesConfig, initialise_convolutions
from pipeline.detectors.oriented_rtdetr.folder import load_network, save_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.errors import ModelError

NARROW = {"stage_channels": (8, 8, 8, 8), "stage_depths": (1, 1, 1, 1), "width": 16}


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
        ({"bands": 0}, "bands must be a whole number of at least 1, not 0"),
        ({"classes": 0}, "classes must be a whole number of at least 1, not 0"),
        ({"width": 2.5}, "width must be a whole number of at least 1, not 2.5"),
        ({"stage_channels": (), "stage_depths": ()}, "stage_channels names no stage"),
        ({"stage_channels": (8, 0), "stage_depths": (1, 1)}, "stage_channels must be a whole number of at least 1"),
        ({"stage_channels": (8, 8), "stage_depths": (1, 0)}, "stage_depths must be a whole number of at least 1"),
        ({"stage_channels": (8, 8), "stage_depths": (1, 1, 1)}, "stage_channels are of 2 stages, stage_depths of 3"),
        ({"context": "no"}, "context must be true or false, not 'no'"),
        ({"foreground": 2}, "foreground must be true or false, not 2"),
        (
            {"context": True, "stage_channels": (8, 8), "stage_depths": (1, 1)},
            "context needs more than 2 levels, the backbone has 2",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(said: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FeaturesConfig(**said)  # type: ignore[arg-type]


def test_modules_come_one_after_the_other_between_neck_and_head() -> None:
    """Fresh, context changes nothing and masks of 0.01 multiply the finest two levels by 1.01; once they have learnt,
    the masks see what context has made of the levels."""
    torch.manual_seed(0)
    plain = FeatureNetwork(FeaturesConfig(**NARROW))
    initialise_convolutions(plain)
    both = FeatureNetwork(FeaturesConfig(**NARROW, context=True, foreground=True))
    initialise_convolutions(both)
    assert both.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    pixels = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        before, after = plain.eval().features(pixels), both.eval().features(pixels)
        for level, (old, new) in enumerate(zip(before.levels, after.levels, strict=True)):
            torch.testing.assert_close(new, old * (1.01 if level < 2 else 1.0))
        assert before.foreground is None
        assert after.foreground is not None
        assert both.context is not None
        assert both.foreground is not None
        torch.nn.init.normal_(both.foreground.masks[0].get_submodule("2").weight)  # type: ignore[arg-type]
        both.context.strength.fill_(0.7)
        found = both.features(pixels)
        levels, masks = both.foreground(both.context(before.levels))
    assert found.foreground is not None
    for ours, wanted in zip([*found.levels, *found.foreground], [*levels, *masks], strict=True):
        assert torch.equal(ours, wanted)


@pytest.mark.parametrize(
    "modules", [{}, {"context": True}, {"foreground": True}, {"context": True, "foreground": True}]
)
def test_a_folder_keeps_the_modules_and_one_without_their_keys_has_none(
    modules: dict[str, bool], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = OrientedRTDetr(NetworkConfig(**NARROW, decoder_layers=1, queries=5, heads=2, **modules)).eval()
    if network.context is not None:
        torch.nn.init.constant_(network.context.strength, 0.5)
    save_network(tmp_path, network)
    path = tmp_path / "config.json"
    said = json.loads(path.read_text())
    if not modules:  # as older versions wrote it
        path.write_text(json.dumps({key: one for key, one in said.items() if key not in ("context", "foreground")}))
    loaded = load_network(tmp_path)
    assert loaded.config == network.config
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name].float(), tensor.float(), rtol=1e-3, atol=1e-4)
    path.write_text(json.dumps(said | {"context": not said["context"]}))
    with pytest.raises(ModelError, match=r"does not fit the network of config.json"):
        load_network(tmp_path)
    path.write_text(json.dumps(said | {"context": "yes"}))
    with pytest.raises(ModelError, match="context must be true or false"):
        load_network(tmp_path)
