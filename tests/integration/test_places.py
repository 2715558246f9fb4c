"""Where a scene lies, from the command line to the files: what people's files say of it, lack, and get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import detect_scene
from pipeline.planning.places import NO_PLACE
from tests.support.scenes import picture, write_geotiff

LOCAL = ("--executor", "local", "--output.preview_px", "0")


def detect(scene: Path, out: Path, *more: str) -> int:
    return detect_scene.main(["--scene", str(scene), "--out", str(out), *LOCAL, *more])


def test_a_warning_is_said_once_stands_in_the_record_and_in_the_dry_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene = write_geotiff(tmp_path / "photo.tif", picture(120, 120), crs=None, transform=None)
    assert detect(scene, tmp_path / "out") == 0
    assert capfd.readouterr().err.count(f"warning: photo: {NO_PLACE}") == 1
    assert json.loads((tmp_path / "out/photo/run.json").read_text())["warnings"] == [NO_PLACE]
    assert detect(scene, tmp_path / "out", "--dry-run") == 0
    assert capfd.readouterr().out.count(f"warning: {NO_PLACE}") == 1
