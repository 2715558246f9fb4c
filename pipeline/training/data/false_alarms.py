"""Where a detector was wrong on training scenes: places that tiles are drawn at more often. They are no new labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.names import told
from pipeline.types import BoolArray, Detections, FloatArray

MOST_A_SCENE = 100
"""The best are kept: what scores high and is nothing costs most."""


def false_alarms(detections: Detections, truth: Annotations) -> FloatArray:
    """(N, 3) x, y and score of detections whose centre lies in no annotated box, objects and ignored ones, best first.

    One that lies on an object and is badly placed teaches nothing about what is no object.
    """
    outside = ~inside_any(detections.boxes[:, :2], truth.boxes)
    found = np.column_stack([detections.boxes[outside, :2], detections.scores[outside]])
    return np.asarray(found[np.argsort(-found[:, 2], kind="stable")][:MOST_A_SCENE])


def inside_any(points: FloatArray, boxes: FloatArray) -> BoolArray:
    """(N,) which of the (N, 2) points lie in any of the (M, 5) oriented boxes."""
    offset = points[:, None] - boxes[None, :, :2]
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    along = offset[..., 0] * cos + offset[..., 1] * sin
    across = offset[..., 1] * cos - offset[..., 0] * sin
    return np.asarray(((np.abs(along) <= boxes[:, 2] / 2) & (np.abs(across) <= boxes[:, 3] / 2)).any(1))


def read_places(path: Path) -> dict[str, FloatArray]:
    """Scene → (N, 3) x, y, score, pixels of the prepared scene. Raises ConfigError for a file that is none."""
    return _read(path)[0]


def add_places(path: Path, found: Mapping[str, FloatArray], source: Mapping[str, Any]) -> None:
    """Write what was ``found``, by scene, to ``path``; scenes that were mined before by another are kept.

    ``source`` says by whom: its ``scenes`` are taken out of those of others.
    """
    known, sources = _read(path) if path.exists() else ({}, [])
    others = [{**one, "scenes": [name for name in one["scenes"] if name not in found]} for one in sources]
    rows = {name: np.round(places, 3).tolist() for name, places in {**known, **found}.items()}
    content = {"places": rows, "sources": [*(one for one in others if one["scenes"]), source]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def _read(path: Path) -> tuple[dict[str, FloatArray], list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_text())
        places = {str(name): np.asarray(rows, np.float64).reshape(-1, 3) for name, rows in content["places"].items()}
        sources = [{**one, "scenes": list(one["scenes"])} for one in content["sources"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} cannot be read as places of false alarms ({told(error)}): mine them again"
        ) from error
    for name, rows in places.items():
        if not (np.isfinite(rows).all() and (rows[:, 2] > 0).all()):
            raise ConfigError(f"{path}: a place of {name} is not finite, or has no score: mine it again")
    return places, sources
