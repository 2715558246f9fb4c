"""Checkpoints of the transformers library through the whole job: published, and their licence said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import detect_scene
from tests.support.checkpoints import FAMILIES, save_checkpoint
from tests.support.scenes import write_geotiff

NEWER = ("deimv2", "rf_detr", "lw_detr", "dab-detr", "yolos")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(4).integers(0, 256, (10, 14, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    return write_geotiff(tmp_path_factory.mktemp("scene") / "scene.tif", pixels)


@pytest.mark.parametrize(
    "family", [pytest.param(one, marks=() if one in NEWER else pytest.mark.slow) for one in FAMILIES]
)
def test_every_family_is_published(
    family: str, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a second look by attention, where density stands in for a network that has none."""
    weights = save_checkpoint(family, tmp_path / "weights")
    if family == "rf_detr":
        (weights / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A checkpoint\n")
    command = ["--scene", str(scene), "--weights", str(weights), "--out", str(tmp_path / "out"), "--executor", "local",
               "--tiling.tile_px", "192", "--tiling.halo_px", "32", "--tiling.global_factor", "2",
               "--refine.selector", "intensity", "--refine.budget", "1", "--raster.stretch", "none",
               "--detector.score_threshold", "0.01", "--output.preview_px", "0"]  # fmt: skip
    assert detect_scene.main(command) == 0
    assert pq.read_table(tmp_path / "out" / "scene" / "detections.parquet").num_rows > 0
    record = json.loads((tmp_path / "out" / "scene" / "run.json").read_text())
    licence = "apache-2.0" if family == "rf_detr" else "unknown"
    assert record["model"]["licence"] == licence
    assert record["second_look"]["crops"] > 0
    said = capsys.readouterr().err
    assert said.count(f"is a {family} of the transformers library, 3 classes, licence {licence}") == 1


def test_a_checkpoint_whose_settings_were_edited_is_another_one(scene: Path, tmp_path: Path) -> None:
    """Nothing of the first job is gone on with: what the card says is the same, what the network sees is not."""
    weights, folder = save_checkpoint("rt_detr", tmp_path / "weights"), tmp_path / "out" / "scene"
    command = ["--scene", str(scene), "--weights", str(weights), "--out", str(tmp_path / "out"), "--executor", "local",
               "--raster.stretch", "none", "--output.preview_px", "0"]  # fmt: skip

    def run_id() -> str:
        assert detect_scene.main(command) == 0
        return str(json.loads((folder / "run.json").read_text())["run_id"])

    first, written = run_id(), (folder / "run.json").stat().st_mtime_ns
    settings = json.loads((weights / "preprocessor_config.json").read_text())
    (weights / "preprocessor_config.json").write_text(json.dumps(dict(reversed(settings.items())), indent=4))
    assert run_id() == first
    assert (folder / "run.json").stat().st_mtime_ns == written, "set out otherwise, it says the same"
    (weights / "preprocessor_config.json").write_text(json.dumps({**settings, "resample": 0}))
    assert run_id() != first
    assert json.loads((folder / "run.json").read_text())["worker_seconds"]["detect"] > 0
