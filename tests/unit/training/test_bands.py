"""One band from prepared scenes to a card, through the same commands as three."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.train_detector import main
from pipeline.detectors import load_detector
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.ablation.figures import milliseconds_per_chip
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import save_scene
from pipeline.types import Chip, Window
from tests.support.oriented import SMALL
from tests.support.prepared import BOX, scene_with

Said = pytest.CaptureFixture[str]
QUICK = ["--tiles", "1", "--sizes", "64", "--threads", "1"]


def prepared(folder: Path, bands: tuple[str, ...], channels: int | None = None) -> Path:
    start_folder(folder, Prepared(classes=("ship",), gsd_m=6.0, bands=bands))
    scene = scene_with(BOX)
    pixels = scene.pixels[..., : len(bands) if channels is None else channels]
    save_scene(folder / "a.npz", replace(scene, name="a", pixels=pixels))
    return folder


def fit(run: Path, *folders: Path, steps: int = 1, more: tuple[str, ...] = ()) -> int:
    return main(["fit", "--scenes", *map(str, folders), "--out", str(run), "--steps", str(steps), *QUICK, *more])


def test_near_infrared_is_learnt_judged_and_exported(tmp_path: Path) -> None:
    scenes, run = prepared(tmp_path / "prep", ("nir",)), tmp_path / "run"
    assert fit(run, scenes, steps=2) == 0
    record = json.loads((run / "run.json").read_text())
    assert (record["bands"], record["mean"], record["std"]) == (["nir"], [0.25], [0.25])
    assert main(["validate", "--run", str(run), "--scenes", str(scenes), "--tile", "128", "--halo", "16"]) == 0
    assert main(["export", "--run", str(run), "--out", str(tmp_path / "weights")]) == 0
    detector = load_detector(tmp_path / "weights")
    assert detector.card.bands == ("nir",)
    chip = Chip(pixels=np.full((64, 64, 1), 90, np.uint8), window=Window(x=0, y=0, width=64, height=64))
    assert len(detector.detect([chip], score_threshold=0.0)[0].detections.boxes) > 0
    assert milliseconds_per_chip(detector) > 0, "what an ablation's row says of it, hours after it began"


def test_folders_of_other_bands_are_not_mixed(tmp_path: Path, capsys: Said) -> None:
    nir, colour = prepared(tmp_path / "nir", ("nir",)), prepared(tmp_path / "rgb", ("red", "green", "blue"))
    assert fit(tmp_path / "run", nir, colour) == 2
    assert "cannot be trained on together" in capsys.readouterr().err
    assert fit(tmp_path / "run", nir) == 0
    assert fit(tmp_path / "run", colour, steps=2) == 2
    assert "give another --out" in capsys.readouterr().err
    assert main(["validate", "--run", str(tmp_path / "run"), "--scenes", str(colour)]) == 2
    assert "learnt nir: prepare the scenes with --bands nir" in capsys.readouterr().err


def test_pixels_that_are_not_what_their_folder_says_are_refused(tmp_path: Path, capsys: Said) -> None:
    assert fit(tmp_path / "run", prepared(tmp_path / "prep", ("nir",), channels=3)) == 2
    assert "the scene a has 3 band(s), where nir" in capsys.readouterr().err


def test_weights_of_other_bands_are_no_start(tmp_path: Path, capsys: Said) -> None:
    save_network(tmp_path / "small", OrientedRTDetr(SMALL))
    more = ("--init", str(tmp_path / "small"))
    assert fit(tmp_path / "run", prepared(tmp_path / "prep", ("nir",)), more=more) == 2
    assert "looks at 3 band(s), the scenes have 1" in capsys.readouterr().err
