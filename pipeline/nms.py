"""From the detections of overlapping looks to one set: exact greedy rotated NMS that knows about cut boxes.

Greedy NMS walks through the boxes in one total order and keeps a box unless one that was kept before overlaps it
too much. Only kept boxes can suppress, so only they enter the spatial index: a hash grid of several levels, one per
power of two of box size (as in broad-phase collision detection; Mirtich, "Efficient algorithms for two-phase
collision detection", 1997). A box is compared with what the neighbouring cells hold, after bounds on area and
extents have been tried. Memory is O(N), there is no list of pairs, and nothing depends on the order of the input.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import compiled, half_extents, intersection_area
from pipeline.types import BoolArray, Detections, FloatArray, IntArray

GEOMETRY_QUANTUM = 1 / 256
"""Boxes of equal score and class are ranked by geometry in steps of this many pixels (radians for the angle)."""

COVERED = 0.5
"""Share of a cut box that a whole box must cover to replace it (architecture §9, ruling 7)."""

_NONE = -1

Grid = tuple[NDArray[np.int32], NDArray[np.int32]]
"""A hash grid: rank of the first box of each bucket, and of the box that follows each box in its bucket."""


def merge(detections: Detections, *, iou_threshold: float, class_groups: IntArray | None = None) -> Detections:
    """One detection per object, in total order (score descending), whatever the order of the input.

    ``class_groups[class_id]`` is the group a class competes in; None lets every class compete with itself only.

    1. A box flagged ``edge`` is dropped when a box that is not, of the same group, covers at least half of it,
       whatever the scores: it is a cut view of an object that was seen whole.
    2. Of the rest, a box is dropped when its rotated IoU with a box kept before it, of the same group, is above
       ``iou_threshold``. Edge boxes that survive stay flagged.

    ``n_merged`` of a dropped box is added to the box it lost to, so its sum over all boxes does not change.
    Raises ValueError when a box is not finite or has a negative size.
    """
    ranked = detections[total_order(detections)]
    groups = ranked.class_ids if class_groups is None else class_groups[ranked.class_ids]
    boxes = _Boxes.of(ranked.boxes, groups)
    winner = _covered_by(boxes, ranked.edge)
    rest = np.flatnonzero(winner == _NONE)
    winner[rest] = rest[_suppressed_by(boxes.take(rest), iou_threshold)]
    final = winner[winner]  # a cut box may have lost to a whole box that lost in its turn
    looks = np.bincount(final, weights=ranked.n_merged, minlength=len(ranked)).astype(np.int64)
    kept = np.flatnonzero(winner == np.arange(len(ranked)))
    out = ranked[kept]
    return Detections(out.boxes, out.scores, out.class_ids, out.frame, out.edge, out.tile_index, out.stage,
                      looks[kept], out.entropy)  # fmt: skip


def rotated_nms(boxes: FloatArray, scores: FloatArray, class_ids: IntArray, iou_threshold: float) -> IntArray:
    """Row numbers (K,) of the boxes (N, 5) that greedy NMS keeps, best first; ties as in :func:`total_order`.

    Boxes of different ``class_ids`` (N,) never suppress each other; a rotated IoU of exactly the threshold does not
    suppress. Raises ValueError when a box is not finite or has a negative size.
    """
    order = _order(scores, _geometry_keys(np.asarray(class_ids), np.asarray(boxes, np.float64)))
    ranked = _Boxes.of(np.asarray(boxes, np.float64)[order], np.asarray(class_ids)[order])
    kept: IntArray = order[_suppressed_by(ranked, iou_threshold) == np.arange(len(order))]
    return kept


def total_order(detections: Detections) -> IntArray:
    """Row numbers (N,) by score (descending), class, quantised geometry, then every other column.

    Rows that still tie are equal in every column, so the sorted table is the same for any order of the input.
    """
    d = detections
    provenance = [d.edge, d.stage, d.tile_index, d.n_merged, d.entropy]
    return _order(d.scores, [*_geometry_keys(d.class_ids, d.boxes), *provenance])


def _geometry_keys(class_ids: IntArray, boxes: FloatArray) -> list[NDArray[np.generic]]:
    return [class_ids, *np.round(boxes / GEOMETRY_QUANTUM).T, *boxes.T]


def _order(scores: FloatArray, tie_breakers: list[NDArray[np.generic]]) -> IntArray:
    """Row numbers by descending score, then ascending tie breakers, the first being the most significant.

    Most scores are unique, so the many columns are looked at only for rows that share theirs.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked = scores[order]
    same = ranked[1:] == ranked[:-1]
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    if len(tied):
        rows = order[tied]
        order[tied] = rows[np.lexsort([*(key[rows] for key in reversed(tie_breakers)), -scores[rows]])]
    return order.astype(np.int64)


class _Boxes(NamedTuple):
    """Boxes in rank order with what the index needs to know about each."""

    rows: FloatArray
    """(N, 9): the box; half extents of its bounds in x and y; area; group."""
    level: IntArray
    """Grid level whose cells the bounds fit into; -1 for boxes without area, which never compete."""
    side: FloatArray
    """(levels,) cell sides, a power of two each, ascending."""

    @classmethod
    def of(cls, obb: FloatArray, group: IntArray) -> _Boxes:
        if not np.isfinite(obb).all() or (obb[:, 2:4] < 0).any():
            raise ValueError("boxes must be finite with width and height >= 0")
        half, area = half_extents(obb), obb[:, 2] * obb[:, 3]
        rows = np.column_stack([obb, half, area, group])
        solid = area > 0
        sizes, level = np.unique(np.ceil(np.log2(2 * half[solid].max(axis=1))), return_inverse=True)
        levels = np.full(len(obb), _NONE, np.int64)
        levels[solid] = level
        return cls(rows, levels, np.exp2(sizes))

    def take(self, chosen: IntArray) -> _Boxes:
        return _Boxes(self.rows[chosen], self.level[chosen], self.side)


def _covered_by(boxes: _Boxes, edge: BoolArray) -> IntArray:
    """(N,) rank of the best whole box that covers enough of each edge box; -1 for none and for whole boxes."""
    return np.asarray(_winners(*boxes, ~edge, COVERED, True))


def _suppressed_by(boxes: _Boxes, iou_threshold: float) -> IntArray:
    """(N,) rank of the best kept box that suppresses each box; its own rank for a box that is kept."""
    winner = _winners(*boxes, np.zeros(len(boxes.rows), np.bool_), float(iou_threshold), False)
    return np.where(winner == _NONE, np.arange(len(winner)), winner)


@compiled
def _winners(
    rows: FloatArray, level: IntArray, side: FloatArray, first: BoolArray, threshold: float, cover: bool
) -> IntArray:
    """(N,) rank of the best rival of each box in the grid, or -1; boxes marked ``first`` fill it and have none.

    With ``cover`` a rival must cover ``threshold`` of the box. Else its IoU must be above it, and boxes without a
    rival join the grid as their turn comes.
    """
    count, size = len(rows), 16
    while size < 2 * count:
        size *= 2
    grid = heads, following = np.full(size, _NONE, np.int32), np.full(count, _NONE, np.int32)
    scratch, winner = np.empty((2, 24, 2)), np.full(count, _NONE, np.int64)
    for turn in range(2):
        for i in range(count):
            if level[i] == _NONE or first[i] == (turn == 1):
                continue
            if turn == 1:
                winner[i] = _best_rival(rows, side, grid, scratch, i, threshold, cover)
            if winner[i] == _NONE and (turn == 0 or not cover):
                cell = side[level[i]]
                bucket = _bucket(rows[i, 0] // cell, rows[i, 1] // cell, level[i], rows[i, 8], size)
                following[i], heads[bucket] = heads[bucket], i
    return winner


@compiled
def _bucket(column: float, row: float, level: int, group: float, size: int) -> int:
    """Place of a grid cell in a hash table of ``size``, a power of two. All arguments are whole numbers."""
    mixed = int(column) * 73856093 ^ int(row) * 19349663 ^ level * 83492791 ^ int(group) * 49979687
    return (mixed ^ mixed >> 17) & (size - 1)


@compiled
def _best_rival(
    rows: FloatArray, side: FloatArray, grid: Grid, scratch: FloatArray, i: int, threshold: float, cover: bool
) -> int:
    """Rank of the best box in the grid that beats box i, or -1.

    A rival with bounds of at most ``side`` has a diameter of at most sqrt(2) side, so it shares at most sqrt(2) side
    * h with the box; to beat it, it must share threshold * w * h. Levels too fine for that are passed over.
    """
    heads, following = grid
    best, mine = _NONE, rows[i]
    for level in range(len(side)):
        cell = side[level]
        if max(mine[2], mine[3]) * threshold > 1.4143 * cell:
            continue
        left, right = math.floor((mine[0] - mine[5]) / cell - 0.5), math.floor((mine[0] + mine[5]) / cell + 0.5)
        top, bottom = math.floor((mine[1] - mine[6]) / cell - 0.5), math.floor((mine[1] + mine[6]) / cell + 0.5)
        for column in range(left, right + 1):
            for row in range(top, bottom + 1):
                j = heads[_bucket(column, row, level, mine[8], len(heads))]
                while j != _NONE:
                    if (best == _NONE or j < best) and _beats(rows[j], mine, threshold, cover, scratch):
                        best = j
                    j = following[j]
    return best


@compiled
def _beats(rival: FloatArray, box: FloatArray, threshold: float, cover: bool, scratch: FloatArray) -> bool:
    """Whether ``rival``, of the same group, covers at least ``threshold`` of ``box``, or else has an IoU above it.

    Both are rows (9,) of :class:`_Boxes`. The smaller area and the overlap of the bounds limit what they can have in
    common, and most pairs end there.
    """
    needed = threshold * (box[7] if cover else (box[7] + rival[7]) / (1 + threshold))
    over_x = min(rival[5] + box[5] - abs(rival[0] - box[0]), 2 * min(rival[5], box[5]))
    over_y = min(rival[6] + box[6] - abs(rival[1] - box[1]), 2 * min(rival[6], box[6]))
    if rival[8] != box[8] or over_x <= 0 or over_y <= 0 or min(over_x * over_y, box[7], rival[7]) < needed * (1 - 1e-9):
        return False
    common = intersection_area(rival, box, scratch)
    return bool(common >= needed if cover else common / (box[7] + rival[7] - common) > threshold)
