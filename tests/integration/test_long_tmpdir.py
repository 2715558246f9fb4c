"""Folders for temporary files that batch systems set, and what Ray makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.harbours import small_harbour

pytestmark = pytest.mark.ray


def test_a_long_tmpdir_is_no_obstacle(tmp_path: Path) -> None:
    """The sockets of a local cluster go where their paths are short; nothing of it stays, there or here."""
    scene = small_harbour(tmp_path / "harbour.tif").path
    long = tmp_path / "scratch/people/somebody/jobdir/1234567/tmp.node0016/abc"
    long.mkdir(parents=True)
    before = set(Path("/tmp").glob("ray-*"))
    argv = ["--scene", scene, "--out", tmp_path / "out", "--output.preview_px", 0, "--cluster.workers", 1]
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs/detect_scene.py"), *map(str, argv), "--cluster.start_s", "240"],
        env={**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "harbour" / "manifest.json").exists()
    assert set(Path("/tmp").glob("ray-*")) <= before
    assert {path.name for path in long.iterdir()} <= {path.name for path in long.glob("torchinductor_*")}


def test_a_cluster_that_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    """Whatever Ray raises: here its folder is a file."""
    scene = small_harbour(tmp_path / "harbour.tif").path
    place = Path("/tmp") / f"kestrel-{os.getpid()}"
    place.mkdir()
    (place / "ray").write_text("")
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "jobs/detect_scene.py"), "--scene", str(scene), "--out", str(tmp_path / "out")],
            env={**os.environ, "TMPDIR": str(place), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            timeout=240,
        )  # fmt: skip
    finally:
        (place / "ray").unlink()
        place.rmdir()
    assert (done.returncode, "Traceback" in done.stderr) == (6, False), done.stderr
    assert "--executor local" in done.stderr
