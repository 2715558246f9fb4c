"""Sums over windows of a map that spans a tile, each in O(1) from an integral image."""

from __future__ import annotations

import numpy as np

from pipeline.types import FloatArray, IntArray, Window


def cells_of(boxes: IntArray, tile: Window, shape: tuple[int, ...]) -> IntArray:
    """(N, 4) windows x, y, x1, y1 in lattice pixels → the nearest whole cells of a map of ``shape`` (rows, columns)
    that spans ``tile``; one at least along each axis."""
    scale = np.array([shape[1] / tile.width, shape[0] / tile.height] * 2)
    cells: IntArray = np.rint((boxes - np.array([tile.x, tile.y] * 2)) * scale).astype(np.int64)
    cells[:, 2:] = np.maximum(cells[:, 2:], cells[:, :2] + 1)
    return cells


def count(cells: IntArray) -> FloatArray:
    """(N,) cells in each window."""
    return ((cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])).astype(np.float64)


def sums(values: FloatArray, cells: IntArray) -> FloatArray:
    """(N,) sums of ``values`` (rows, columns) over cell windows (x, y, x1, y1)."""
    integral = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    integral[1:, 1:] = values.cumsum(0).cumsum(1)
    x, y, x1, y1 = cells.T
    found: FloatArray = integral[y1, x1] - integral[y, x1] - integral[y1, x] + integral[y, x]
    return found
