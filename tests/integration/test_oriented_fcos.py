"""The second family of our own, all the way: harbours → fit → validate → export → detect."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import detect_scene, train_detector
from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_fcos.folder import save_network
from pipeline.second_look.look import NO_ATTENTION
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.harbours import small_harbour


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector after some steps, with a card that ``validate`` gave figures."""
    root = tmp_path_factory.mktemp("fcos")
    prep, run, out = str(root / "prep"), str(root / "run"), root / "ships"
    save_network(root / "first", small_fcos())
    harbours = ["harbours", "--count", "2", "--size", "192", "--gsd", "10", "--out", prep]
    fit = ["fit", "--family", "oriented_fcos", "--scenes", prep, "--init", str(root / "first"), "--out", run,
           "--tiles", "2", "--sizes", "96", "--learning-rate", "0.002", "--threads", "1"]  # fmt: skip
    assert train_detector.main(harbours) == 0
    assert train_detector.main([*fit, "--steps", "20"]) == 0
    assert train_detector.main([*fit, "--steps", "40"]) == 0
    assert train_detector.main(["validate", "--run", run, "--scenes", prep, "--tile", "96", "--halo", "16"]) == 0
    assert train_detector.main(["export", "--run", run, "--score-threshold", "0.05", "--out", str(out)]) == 0
    return out


def test_what_is_exported_is_an_oriented_fcos_with_a_whole_card(folder: Path) -> None:
    detector = load_detector(folder)
    assert isinstance(detector, OrientedFCOSDetector)
    assert read_model_card(folder) == detector.card
    assert detector.card.classes == ("ship",)
    assert detector.card.gsd_m == 10.0
    assert detector.card.oriented
    assert "ap50" in next(value for value in detector.card.metrics.values() if isinstance(value, dict))
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "kestrel_oriented_fcos"
    assert config["tower_layers"] == SMALL_FCOS.tower_layers


@pytest.mark.parametrize("selector", ["none", "density", "ours", "sae"])
def test_it_detects_with_a_second_look_and_says_when_a_selector_needs_what_it_has_not(
    selector: str, folder: Path, tmp_path: Path
) -> None:
    scene = small_harbour(tmp_path / "harbour.tif").path
    out = tmp_path / "out"
    arguments = ["--executor", "local", "--scene", str(scene), "--out", str(out), "--weights", str(folder)]
    look = ["--tiling.tile_px", "256", "--tiling.global_factor", "2", "--refine.selector", selector]
    assert detect_scene.main([*arguments, *look]) == 0
    record = json.loads((out / "harbour" / "run.json").read_text())
    found = pq.read_table(out / "harbour" / "detections.parquet").to_pydict()
    assert record["detections"] == len(found["score"]) > 0
    assert np.isfinite(found["px_angle_rad"]).all()
    needs = selector == "sae"
    assert (NO_ATTENTION in json.dumps(record)) == needs
