"""The console command as people meet it first: its version, and names that are nearly right."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pipeline
from jobs.cli import JOBS
from tests.conftest import ROOT


def said(script: str, *argv: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / script), *argv], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "call", ["cli.py", "cli.py detect", "detect_scene.py", "ingest_scenes.py", "collect_results.py",
             "train_detector.py", "evaluate_detector.py", "export_detections.py", "make_scene.py", "demo.py"],
)  # fmt: skip
def test_every_job_tells_its_version(call: str) -> None:
    assert said(*call.split(), "--version") == (0, f"kestrel {pipeline.__version__}\n", "")


def test_a_job_that_is_nearly_right_is_proposed() -> None:
    assert said("cli.py", "detct") == (2, "", "error: kestrel has no job 'detct'; did you mean detect?\n")
    code, _, words = said("cli.py", "predict")
    assert (code, words.rstrip().endswith(f"there are {', '.join(JOBS)}")) == (2, True)


def test_a_flag_that_is_near_nothing_is_told_where_to_look() -> None:
    assert said("cli.py", "detect", "--classes", "ship")[2].startswith(
        "error: unknown --classes; --help all lists every key\n"
    )
    assert said("evaluate_detector.py", "--anotations", "a.json")[2] == (
        "error: unknown '--anotations'; did you mean --annotations?\n"
    )
