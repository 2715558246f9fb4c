"""Trainings of one step by the command line, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.train_detector import main
from pipeline.annotations.annotations import Annotations
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import save_scene
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])
Said = pytest.CaptureFixture[str]


def folder_of(path: Path, classes: tuple[str, ...] | None, names: Sequence[str] = ("a",), **made: Any) -> Path:
    """A folder of prepared scenes whose three objects have the classes 0, 1, 2 as far as there are so many."""
    if classes is not None:
        start_folder(path, Prepared(classes=classes, **made))
    for name in names:
        truth = Annotations(SHIPS, np.arange(3) % len(classes or "abc"), np.zeros(3, np.bool_))
        save_scene(path / f"{name}.npz", replace(scene_with(SHIPS), name=name, truth=truth))
    return path


def fit(small: Path, run: Path, *folders: Path, steps: int = 1, **flags: object) -> int:
    shared = {"tiles": 1, "sizes": 64, "threads": 1, "init": small, "out": run, "steps": steps, **flags}
    given = [text for key, value in shared.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    return main(["fit", "--scenes", *map(str, folders), *given])


def export(run: Path, out: Path, *more: object) -> int:
    return main(["export", "--run", str(run), "--out", str(out), *map(str, more)])
