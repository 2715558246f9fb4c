"""Rows of an ablation, one a finished training, and the detections behind each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.names import told
from pipeline.training.ablation.plan import Task
from pipeline.training.run_record import plain_numbers
from pipeline.types import Detections, Frame

ROWS_FILE = "rows.jsonl"
DETECTIONS_FILE = "detections-{part}.npz"
Key = tuple[str, str, str, int | None, int]


def read_rows(path: Path) -> dict[Key, dict[str, Any]]:
    """The rows of a file by the key of their task, the last of each; none where there is no file.

    A line that was cut off, which a kill leaves, is passed over: its training is judged again. Raises ConfigError for
    any other line that is no row.
    """
    rows: dict[Key, dict[str, Any]] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            row = dict(json.loads(line))
            rows[(row["recipe"], row["digest"], row["set"], row["fold"], row["seed"])] = row
        except (ValueError, KeyError, TypeError) as error:
            if not (line.startswith("{") and isinstance(error, json.JSONDecodeError)):
                raise ConfigError(f"line {number} of {path} is no row ({told(error)})") from error
    return rows


def add_row(path: Path, task: Task, figures: Mapping[str, Any]) -> None:
    """Add the row of a task to the file, in one write: several processes may write to it."""
    name, digest, set_name, fold, seed = task.key
    row = {"recipe": name, "digest": digest, "set": set_name, "fold": fold, "seed": seed, **figures}
    line = json.dumps(plain_numbers(row)) + "\n"
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a") as file:
        file.write(("\n" if torn else "") + line)


def save_detections(path: Path, names: Sequence[str], found: Sequence[Detections]) -> None:
    """Detections of scenes, by rename: what intervals of differences are drawn from."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez_compressed(
        partial,
        names=np.array(names, dtype=np.str_),
        counts=np.array([len(one) for one in found], np.int64),
        boxes=np.concatenate([np.zeros((0, 5)), *(one.boxes for one in found)]).astype(np.float32),
        scores=np.concatenate([np.zeros(0), *(one.scores for one in found)]).astype(np.float32),
        class_ids=np.concatenate([np.zeros(0, np.int64), *(one.class_ids for one in found)]),
    )
    partial.replace(path)


def load_detections(path: Path) -> dict[str, Detections]:
    """Scene → its detections (frame LATTICE). Raises ConfigError for a file that is missing or none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ends = np.cumsum(arrays["counts"])
            parts = {key: np.split(arrays[key], ends[:-1]) for key in ("boxes", "scores", "class_ids")}
            return {
                str(name): Detections(
                    boxes=parts["boxes"][i].astype(np.float64), scores=parts["scores"][i].astype(np.float64),
                    class_ids=parts["class_ids"][i], frame=Frame.LATTICE,
                )
                for i, name in enumerate(arrays["names"])
            }  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"cannot read {path} ({told(error)}): take its row out of {ROWS_FILE}") from error


def load_truth(folder: Path, names: Sequence[str]) -> list[Annotations]:
    """Truth of prepared scenes, without their pixels."""
    truth = []
    for name in names:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            truth.append(Annotations(arrays["boxes"], arrays["class_ids"], arrays["ignore"]))
    return truth
