"""``mine``: from a detector and prepared scenes to places that ``fit`` goes by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.train_detector import main
from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.data.false_alarms import inside_any, read_places
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import load_scenes, save_scene
from pipeline.types import ModelCard
from tests.support.oriented import SMALL
from tests.support.prepared import BOX, scene_with

Said = pytest.CaptureFixture[str]


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Of random weights: everything it finds at a low score is a false alarm."""
    folder = tmp_path / "weights"
    save_network(folder, OrientedRTDetr(SMALL))
    write_card(
        folder,
        ModelCard(
            name="any", classes=("ship",), gsd_m=6.0, bands=("red", "green", "blue"), input_px=128, oriented=True,
            sha256=weights_sha256(folder),
        ),
    )  # fmt: skip
    return folder


def prepared(folder: Path, bands: tuple[str, ...] = ("red", "green", "blue")) -> Path:
    start_folder(folder, Prepared(classes=("ship",), gsd_m=6.0, bands=bands))
    for name in ("a", "b"):
        scene = scene_with(BOX)
        save_scene(folder / f"{name}.npz", replace(scene, name=name, pixels=scene.pixels[..., : len(bands)]))
    return folder


def mine(detector: Path, scenes: Path, out: Path, *more: str) -> int:
    common = ["--lowest-score", "0.02", "--halo", "16", "--out", str(out)]
    return main(["mine", "--weights", str(detector), "--scenes", str(scenes), *common, *more])


def test_places_lie_beside_objects_and_fit_takes_them(detector: Path, tmp_path: Path, capsys: Said) -> None:
    scenes, out = prepared(tmp_path / "prep"), tmp_path / "places.json"
    assert mine(detector, scenes, out, "--only", "a") == 0
    places = read_places(out)
    assert list(places) == ["a"]
    assert "a: " in capsys.readouterr().out
    truth = {scene.name: scene.truth for scene in load_scenes(scenes)}["a"]
    assert not inside_any(places["a"][:, :2], truth.boxes).any()
    assert np.all(np.diff(places["a"][:, 2]) <= 0)
    run = ["--tiles", "1", "--sizes", "64", "--steps", "1", "--threads", "1", "--init", str(detector)]
    assert main(["fit", "--scenes", str(scenes), *run, "--false-alarms", str(out), "--out", str(tmp_path / "run")]) == 0


def test_scenes_of_other_bands_and_unknown_names_are_refused(detector: Path, tmp_path: Path, capsys: Said) -> None:
    assert mine(detector, prepared(tmp_path / "nir", ("nir",)), tmp_path / "p.json") == 2
    assert "has the bands nir, but any looks at red, green, blue" in capsys.readouterr().err
    assert mine(detector, prepared(tmp_path / "prep"), tmp_path / "p.json", "--only", "z") == 2
    assert "does not hold: z" in capsys.readouterr().err
