"""From the package's pickle to a backbone: by a command, and without ever running what a pickle asks for."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from jobs.train_detector import main
from pipeline.detectors.modules.efficientnet_lite import EfficientNetLite
from pipeline.detectors.modules.resnet import SmallResNet
from pipeline.errors import ConfigError, ModelError
from pipeline.training import pretrained
from pipeline.training.data.prepare import save_all
from pipeline.training.families import family_of
from pipeline.training.pretrained import load_backbone, package_pickle, read_pickle, save_backbone
from pipeline.training.recipe import NetworkChoice
from pipeline.training.start import first_network
from tests.support.prepared import BOX, scene_with

RTDETR = family_of("oriented_rtdetr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("backbone")
    assert main(["backbone", "--out", str(out)]) == 0
    return out


def test_the_command_keeps_safetensors_and_says_whose_they_are(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"efficientnet_lite0.safetensors", "NOTICE"}
    assert "Apache License" in (folder / "NOTICE").read_text()


def test_a_single_band_is_seen_as_the_same_band_in_all_three_colours(folder: Path) -> None:
    colours, grey = EfficientNetLite(3), EfficientNetLite(1)
    load_backbone(folder, colours)
    load_backbone(folder, grey)
    pixels = torch.rand(1, 1, 64, 64)
    for one, other in zip(grey.eval()(pixels), colours.eval()(pixels.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert grey.frozen_statistics


def test_another_file_than_the_known_one_is_not_opened(tmp_path: Path) -> None:
    """A pickle that would write a file, were it ever unpickled."""

    class Writes:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(tmp_path / "ran"), "w")

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Writes()))
    with pytest.raises(ModelError, match="is not the file that is known"):
        read_pickle(path)
    assert not (tmp_path / "ran").exists()


def test_the_unpickler_itself_builds_tensors_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Writes:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(tmp_path / "ran"), "w")

    path = tmp_path / "weights.pth"
    torch.save({"_bn0.weight": Writes()}, path, _use_new_zipfile_serialization=False)
    monkeypatch.setattr(pretrained, "PICKLE_SHA256", "")
    with pytest.raises(ModelError, match="cannot read"):
        read_pickle(path)
    assert not (tmp_path / "ran").exists()


def test_what_is_missing_is_said_in_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="holds no weights of a backbone"):
        load_backbone(tmp_path, EfficientNetLite(3))
    with pytest.raises(ConfigError, match="the network needs that backbone"):
        load_backbone(folder, SmallResNet(3, (8, 8), (1, 1)))
    with pytest.raises(ConfigError, match="--init brings its own backbone"):
        first_network(RTDETR, NetworkChoice(init=str(tmp_path), pretrained=str(folder)), 1)
    tensors = read_pickle(package_pickle())
    del tensors["stem.conv.weight"]
    save_backbone(tmp_path / "short", tensors)
    with pytest.raises(ConfigError, match="does not fit efficientnet_lite0"):
        load_backbone(tmp_path / "short", EfficientNetLite(3))
    monkeypatch.setattr(pretrained, "PACKAGE", "no-such-package")
    assert main(["backbone", "--out", str(tmp_path / "none")]) == 2
    assert "pip install no-such-package" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_fit_starts_from_them_and_its_export_says_how_pixels_are_normalised(folder: Path, tmp_path: Path) -> None:
    save_all([scene_with(BOX)], tmp_path / "scenes")
    fit = ["fit", "--scenes", str(tmp_path / "scenes"), "--out", str(tmp_path / "run"), "--steps", "2", "--tiles", "1",
           "--sizes", "64", "--pretrained", str(folder), "--threads", "1"]  # fmt: skip
    assert main(fit) == 0
    (tmp_path / "card.json").write_text(json.dumps({"classes": ["ship"]}))
    out = tmp_path / "weights"
    assert (
        main(["export", "--run", str(tmp_path / "run"), "--card", str(tmp_path / "card.json"), "--out", str(out)]) == 0
    )
    card, config = (json.loads((out / name).read_text()) for name in ("card.json", "config.json"))
    assert (card["mean"][0], card["std"][0]) == (127 / 255, 128 / 255)
    assert config["backbone"] == "efficientnet_lite0"
    again = first_network(RTDETR, NetworkChoice(init=str(out)), 2)
    assert again.config.classes == 2
    assert isinstance(again.backbone, EfficientNetLite)
    assert again.backbone.frozen_statistics
