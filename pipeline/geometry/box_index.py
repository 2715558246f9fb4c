"""The spatial index of boxes in rank order, and the question that every merge asks: does this box beat that one?

The index is a hash grid of several levels, one per power of two of box size (as in broad-phase collision detection;
Mirtich, "Efficient algorithms for two-phase collision detection", 1997). Memory is O(N), there is no list of pairs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.compiled import compiled
from pipeline.geometry.obb import half_extents
from pipeline.geometry.overlap import intersection_area
from pipeline.types import FloatArray, IntArray

NONE = -1
"""No box, no level."""

Grid = tuple[NDArray[np.int32], NDArray[np.int32]]
"""A hash grid: rank of the first box of each bucket, and of the box that follows each box in its bucket."""

Range = tuple[int, int, int, int]
"""Cells of one grid level: first and last column, first and last row."""


class RankedBoxes(NamedTuple):
    """Boxes in rank order with what the index needs to know about each."""

    rows: FloatArray
    """(N, 9): the box; half extents of its bounds in x and y; area; group."""
    level: IntArray
    """Grid level whose cells the bounds fit into; -1 for boxes without area, which never compete."""
    side: FloatArray
    """(levels,) cell sides, a power of two each, ascending."""

    @classmethod
    def of(cls, obb: FloatArray, group: IntArray) -> RankedBoxes:
        """Boxes (N, 5) and their groups (N,). Raises ValueError when a box is not finite or has a negative size."""
        if not np.isfinite(obb).all() or (obb[:, 2:4] < 0).any():
            raise ValueError("boxes must be finite with width and height >= 0")
        half, area = half_extents(obb), obb[:, 2] * obb[:, 3]
        rows = np.column_stack([obb, half, area, group])
        solid = area > 0
        sizes, level = np.unique(np.ceil(np.log2(2 * half[solid].max(axis=1))), return_inverse=True)
        levels = np.full(len(obb), NONE, np.int64)
        levels[solid] = level
        return cls(rows, levels, np.exp2(sizes))

    def take(self, chosen: IntArray) -> RankedBoxes:
        return RankedBoxes(self.rows[chosen], self.level[chosen], self.side)


@compiled
def empty_grid(count: int) -> Grid:
    """A grid with room for ``count`` boxes."""
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, NONE, np.int32), np.full(count, NONE, np.int32)


@compiled
def add_box(rows: FloatArray, level: IntArray, side: FloatArray, grid: Grid, i: int) -> None:
    """Put box i, which has an area, into the grid."""
    heads, following = grid
    cell = side[level[i]]
    place = bucket(rows[i, 0] // cell, rows[i, 1] // cell, level[i], rows[i, 8], len(heads))
    following[i], heads[place] = heads[place], i


@compiled
def bucket(column: float, row: float, level: int, group: float, size: int) -> int:
    """Place of a grid cell in a hash table of ``size``, a power of two. All arguments are whole numbers."""
    mixed = int(column) * 73856093 ^ int(row) * 19349663 ^ level * 83492791 ^ int(group) * 49979687
    return (mixed ^ mixed >> 17) & (size - 1)


@compiled
def too_fine(box: FloatArray, cell: float, threshold: float) -> bool:
    """Whether no box whose bounds fit a cell can beat ``box``, a row (9,).

    Such a rival has a diameter of at most sqrt(2) cell, so it shares at most sqrt(2) cell * h with the box; to beat
    it, it must share threshold * w * h.
    """
    return bool(max(box[2], box[3]) * threshold > 1.4143 * cell)


@compiled
def cells_around(box: FloatArray, cell: float) -> Range:
    """The cells that hold the centres of all boxes of one level whose bounds overlap those of ``box``, a row (9,)."""
    left, right = math.floor((box[0] - box[5]) / cell - 0.5), math.floor((box[0] + box[5]) / cell + 0.5)
    top, bottom = math.floor((box[1] - box[6]) / cell - 0.5), math.floor((box[1] + box[6]) / cell + 0.5)
    return left, right, top, bottom


@compiled
def beats(rival: FloatArray, box: FloatArray, threshold: float, cover: bool, scratch: FloatArray) -> bool:
    """Whether ``rival``, of the same group, covers at least ``threshold`` of ``box``, or else has an IoU above it.

    Both are rows (9,) of :class:`RankedBoxes`. The smaller area and the overlap of the bounds limit what they can have
    in common, and most pairs end there.
    """
    needed = threshold * (box[7] if cover else (box[7] + rival[7]) / (1 + threshold))
    over_x = min(rival[5] + box[5] - abs(rival[0] - box[0]), 2 * min(rival[5], box[5]))
    over_y = min(rival[6] + box[6] - abs(rival[1] - box[1]), 2 * min(rival[6], box[6]))
    if rival[8] != box[8] or over_x <= 0 or over_y <= 0 or min(over_x * over_y, box[7], rival[7]) < needed * (1 - 1e-9):
        return False
    common = intersection_area(rival, box, scratch)
    return bool(common >= needed if cover else common / (box[7] + rival[7] - common) > threshold)
