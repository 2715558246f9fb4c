"""Prepared scenes that are drawn: white ships on dark water."""

from __future__ import annotations

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.geometry.obb import canonical_obb
from pipeline.training.data.scenes import TrainingScene

BOX = np.array([[120.0, 90, 40, 12, 0.5]])


def scene_with(boxes: np.ndarray, size: int = 240) -> TrainingScene:
    """White ships on dark water."""
    y, x = np.mgrid[:size, :size] + 0.5
    pixels = np.full((size, size, 3), 20, np.uint8)
    for cx, cy, w, h, angle in boxes:
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        pixels[(np.abs(along) < w / 2) & (np.abs(across) < h / 2)] = 220
    count = len(boxes)
    return TrainingScene("made", pixels, Annotations(boxes, np.zeros(count, np.int64), np.zeros(count, np.bool_)))


def white_rectangle(tile: np.ndarray) -> np.ndarray:
    """Box of the white pixels from their moments: a uniform rectangle of side w has variance w² / 12."""
    rows, columns = np.nonzero(tile[..., 0] > 120)
    points = np.column_stack([columns, rows]) + 0.5
    values, vectors = np.linalg.eigh(np.cov(points.T))
    angle = np.arctan2(vectors[1, 1], vectors[0, 1])
    return canonical_obb(np.array([[*points.mean(0), *np.sqrt(12 * values[::-1]), angle]]))[0]
