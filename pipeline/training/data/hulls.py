"""Horizontal boxes around oriented ones, for detectors whose boxes have no angle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.geometry.obb import canonical_obb
from pipeline.training.data.scenes import TrainingScene
from pipeline.types import FloatArray

_TURNED = 1e-6
"""Radians away from an axis that are no rounding."""


def hulls(boxes: FloatArray) -> FloatArray:
    """(N, 4) cx, cy, width, height of the smallest horizontal boxes around (N, 5) oriented ones, same pixels."""
    cos, sin = np.abs(np.cos(boxes[:, 4])), np.abs(np.sin(boxes[:, 4]))
    wide = boxes[:, 2] * cos + boxes[:, 3] * sin
    high = boxes[:, 2] * sin + boxes[:, 3] * cos
    return np.column_stack([boxes[:, :2], wide, high])


def horizontal(scenes: Sequence[TrainingScene]) -> tuple[list[TrainingScene], int]:
    """The scenes with the hulls of their boxes for boxes, and how many of these were turned."""
    turned = 0
    found = []
    for scene in scenes:
        boxes = scene.truth.boxes
        turned += int(np.count_nonzero(np.abs(np.sin(2 * boxes[:, 4])) > 2 * _TURNED))
        flat = np.column_stack([hulls(boxes), np.zeros(len(boxes))])
        found.append(replace(scene, truth=replace(scene.truth, boxes=canonical_obb(flat))))
    return found, turned
