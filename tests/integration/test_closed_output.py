"""Readers that leave (``| head``), disks that are full, streams that were closed: no traceback, and nothing lost."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.harbours import small_harbour

LOCAL = ("--executor", "local", "--output.preview_px", "0")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif").path


def shell(script: str, *argv: object, to: str, unbuffered: str = "") -> tuple[int, str]:
    """A job through bash with its output led ``to``: the job's own exit code, and what stands on stderr."""
    command = shlex.join([sys.executable, f"jobs/{script}", *map(str, argv)])
    done = subprocess.run(
        ["bash", "-c", f"{command} {to}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}, timeout=240,
    )  # fmt: skip
    return done.returncode, done.stderr


CALLS = (
    "detect_scene.py --help", "detect_scene.py --help all", "detect_scene.py --print_config", "make_scene.py --help",
    "evaluate_detector.py --help", "train_detector.py fit --help", "demo.py --help", "cli.py --help", "cli.py",
    "cli.py detect --help all",
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_error(call: str, unbuffered: str) -> None:
    code, said = shell(*call.split(), to="| true", unbuffered=unbuffered)
    assert (code, said) == (141, "")


def test_a_dry_run_without_a_reader_ends_quietly(scene: Path, tmp_path: Path) -> None:
    code, said = shell("detect_scene.py", "--scene", scene, "--out", tmp_path, *LOCAL, "--dry-run", to="| true")
    assert (code, said) == (141, "")


def test_a_disk_that_is_full_is_one_sentence() -> None:
    code, said = shell("detect_scene.py", "--help", to="> /dev/full")
    assert (code, said.splitlines()[0]) == (5, "error: standard output cannot be written: No space left on device")


def test_a_scene_is_made_whole_though_nobody_reads_of_it(tmp_path: Path) -> None:
    argv = ["--kind", "harbour", "--width", 200, "--height", 200, "--out", tmp_path / "a.tif"]
    code, said = shell("make_scene.py", *argv, to="| true")
    assert (code, said) == (141, "")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "a.truth.geojson", "a.coco.json"}


@pytest.mark.parametrize("to", ["2>&1 | true", "2>&-", "2>/dev/full", "2>&- >&-"])
def test_a_run_whose_log_goes_nowhere_is_published(scene: Path, tmp_path: Path, to: str) -> None:
    """Progress is not the product: the run goes on, and its exit code is that of the run."""
    code, said = shell("detect_scene.py", "--scene", scene, "--out", tmp_path, *LOCAL, to=to)
    assert (code, said) == (0, "")
    assert (tmp_path / "harbour" / "manifest.json").exists()


def test_figures_are_written_before_they_are_printed(scene: Path, tmp_path: Path) -> None:
    from pipeline.synth.harbour.harbour import Harbour
    from pipeline.synth.scene_files import Placement, make_scene

    made, out = tmp_path / "a.tif", tmp_path / "out"
    make_scene(Harbour(seed=3, width=256, height=256), "uint16", made, Placement(crs="EPSG:32632", gsd=10.0),
               lambda _: None, {})  # fmt: skip
    assert shell("detect_scene.py", "--scene", made, "--out", out, *LOCAL, to="")[0] == 0
    argv = ["--detections", out / "a" / "detections.parquet", "--annotations", made.with_suffix(".truth.geojson")]
    code, said = shell("evaluate_detector.py", *argv, "--json", tmp_path / "figures.json", to="| true")
    assert (code, "Traceback" in said) == (141, False)
    assert json.loads((tmp_path / "figures.json").read_text())
