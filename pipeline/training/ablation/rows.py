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
from pipeline.names import listed, told
from pipeline.training.ablation.plan import Plan, SetPlan, Task
from pipeline.training.data.prepared import scenes_sha256
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


def made_of(own: SetPlan, task: Task, data: Path) -> dict[str, Any]:
    """What else than its key makes a row: the bytes of the set's folders below ``data``, by name (of those that are
    there), and how scenes are judged."""
    folders = [*own.folders, own.choose, own.report]
    return {
        "folders": {one: _folder_sha256(data / one) for one in folders if one and any((data / one).glob("*.npz"))},
        "hold_out": list(task.recipe.data.hold_out),
        "tile_px": own.tile_px,
        "report_scenes": own.report_scenes,
    }


def check_rows(plan: Plan, tasks: Sequence[Task], data: Path, path: Path) -> None:
    """Raise ConfigError for a row that was made of other scenes than ``data`` holds now, or judged otherwise than the
    plan says now: it would stand for what nobody trained. Rows of older versions do not say what they are of."""
    rows = read_rows(path)
    folders: dict[str, dict[str, str]] = {}
    for task in tasks:
        then = rows.get(task.key, {}).get("made_of")
        if then is None:
            continue
        own = plan.sets[task.set_name]
        if task.set_name not in folders:
            folders[task.set_name] = made_of(own, task, data)["folders"]
        now = {"hold_out": list(task.recipe.data.hold_out), "tile_px": own.tile_px, "report_scenes": own.report_scenes}
        other = [key for key, value in now.items() if then[key] != value]
        here = folders[task.set_name]
        other += [f"the scenes of {one}" for one, sha in then["folders"].items() if here.get(one, sha) != sha]
        if other:
            raise ConfigError(
                f"{path} holds a row of {task.folder} that was made with other data or judged otherwise "
                f"({listed(other)}) than now: give another --out, or take the row out"
            )


def _folder_sha256(folder: Path) -> str:
    return scenes_sha256(folder, [path.stem for path in folder.glob("*.npz")])


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
