"""From the detections of overlapping looks to one set: exact greedy rotated NMS that knows about cut boxes.

Greedy NMS walks through the boxes in one total order and keeps a box unless one that was kept before overlaps it
too much. Only kept boxes can suppress, so only they enter the index (:mod:`pipeline.geometry.box_index`). A box is
compared with what the neighbouring cells hold, after bounds on area and extents have been tried. Memory is O(N), and
nothing depends on the order of the input.

Which boxes are kept does not depend on how a scene was cut: every whole view is in every tiling whose halo is wide
enough, and cut views yield to them. The score a box is kept with is the best of all views that it stands for, so what
a lower score threshold lets in never takes away what was found above it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.box_index import (
    NONE,
    Grid,
    RankedBoxes,
    add_box,
    beats,
    bucket,
    cells_around,
    empty_grid,
    too_fine,
)
from pipeline.geometry.compiled import compiled
from pipeline.types import BoolArray, Detections, FloatArray, IntArray

GEOMETRY_QUANTUM = 1 / 256
"""Boxes of equal score and class are ranked by geometry in steps of this many pixels (radians for the angle)."""

COVERED = 0.5
"""Share of a cut box that a whole box must cover to replace it (ruling 7)."""


def merge(detections: Detections, *, iou_threshold: float, class_groups: IntArray | None = None) -> Detections:
    """One detection per object, in total order (score descending), whatever the order of the input.

    ``class_groups[class_id]`` is the group a class competes in; None lets every class compete with itself only.

    1. A box flagged ``edge`` is dropped when a box that is not, of the same group, covers at least half of it,
       whatever the scores: it is a cut view of an object that was seen whole.
    2. Of the rest, a box is dropped when its rotated IoU with a box kept before it, of the same group, is above
       ``iou_threshold``. Edge boxes that survive stay flagged.
    3. A kept box has the highest score among itself and all boxes that lost to it; only cut ones can have more. A cut
       box whose whole view was dropped in its turn lost to what that one lost to.

    ``n_merged`` of a dropped box is added to the box it lost to, so its sum over all boxes does not change.
    Raises ValueError when a box is not finite or has a negative size.
    """
    ranked = detections[total_order(detections)]
    winner = winners(ranked.boxes, groups_of(ranked, class_groups), ranked.edge, iou_threshold)
    return settled(ranked, winner)


def groups_of(detections: Detections, class_groups: IntArray | None) -> IntArray:
    """(N,) the group each detection competes in."""
    return detections.class_ids if class_groups is None else class_groups[detections.class_ids]


def winners(boxes: FloatArray, groups: IntArray, edge: BoolArray, iou_threshold: float) -> IntArray:
    """(N,) rank of the box that each box loses to, its own when it is kept. Boxes (N, 5) come in total order.

    What a cut box lost to may itself have lost. Raises ValueError when a box is not finite or has a negative size.
    """
    ranked = RankedBoxes.of(boxes, groups)
    winner = _covered_by(ranked, edge)
    rest = np.flatnonzero(winner == NONE)
    winner[rest] = rest[_suppressed_by(ranked.take(rest), iou_threshold)]
    return winner


def settled(ranked: Detections, winner: IntArray) -> Detections:
    """The kept boxes in total order, each with the looks and the best score of all that lost to it."""
    final = winner[winner]  # a cut box may have lost to a whole box that lost in its turn
    looks = np.bincount(final, weights=ranked.n_merged, minlength=len(ranked)).astype(np.int64)
    scores = ranked.scores.copy()
    cut = np.flatnonzero(ranked.edge)  # any other box lost to one of at least its score
    np.maximum.at(scores, final[cut], ranked.scores[cut])
    kept = np.flatnonzero(winner == np.arange(len(ranked)))
    out = replace(ranked[kept], scores=scores[kept], n_merged=looks[kept])
    return out if (np.diff(out.scores) < 0).all() else out[total_order(out)]


def rotated_nms(boxes: FloatArray, scores: FloatArray, class_ids: IntArray, iou_threshold: float) -> IntArray:
    """Row numbers (K,) of the boxes (N, 5) that greedy NMS keeps, best first; ties as in :func:`total_order`.

    Boxes of different ``class_ids`` (N,) never suppress each other; a rotated IoU of exactly the threshold does not
    suppress. Raises ValueError when a box is not finite or has a negative size.
    """
    order = _order(scores, _geometry_keys(np.asarray(class_ids), np.asarray(boxes, np.float64)))
    ranked = RankedBoxes.of(np.asarray(boxes, np.float64)[order], np.asarray(class_ids)[order])
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


def _covered_by(boxes: RankedBoxes, edge: BoolArray) -> IntArray:
    """(N,) rank of the best whole box that covers enough of each edge box; -1 for none and for whole boxes."""
    return np.asarray(_winners(*boxes, ~edge, COVERED, True))


def _suppressed_by(boxes: RankedBoxes, iou_threshold: float) -> IntArray:
    """(N,) rank of the best kept box that suppresses each box; its own rank for a box that is kept."""
    winner = _winners(*boxes, np.zeros(len(boxes.rows), np.bool_), float(iou_threshold), False)
    return np.where(winner == NONE, np.arange(len(winner)), winner)


@compiled
def _winners(
    rows: FloatArray, level: IntArray, side: FloatArray, first: BoolArray, threshold: float, cover: bool
) -> IntArray:
    """(N,) rank of the best rival of each box in the grid, or -1; boxes marked ``first`` fill it and have none.

    With ``cover`` a rival must cover ``threshold`` of the box. Else its IoU must be above it, and boxes without a
    rival join the grid as their turn comes.
    """
    count = len(rows)
    grid, scratch, winner = empty_grid(count), np.empty((2, 24, 2)), np.full(count, NONE, np.int64)
    for turn in range(2):
        for i in range(count):
            if level[i] == NONE or first[i] == (turn == 1):
                continue
            if turn == 1:
                winner[i] = _best_rival(rows, side, grid, scratch, i, threshold, cover)
            if winner[i] == NONE and (turn == 0 or not cover):
                add_box(rows, level, side, grid, i)
    return winner


@compiled
def _best_rival(
    rows: FloatArray, side: FloatArray, grid: Grid, scratch: FloatArray, i: int, threshold: float, cover: bool
) -> int:
    """Rank of the best box in the grid that beats box i, or -1."""
    heads, following = grid
    best, mine = NONE, rows[i]
    for level in range(len(side)):
        if too_fine(mine, side[level], threshold):
            continue
        left, right, top, bottom = cells_around(mine, side[level])
        for column in range(left, right + 1):
            for row in range(top, bottom + 1):
                j = heads[bucket(column, row, level, mine[8], len(heads))]
                while j != NONE:
                    if (best == NONE or j < best) and beats(rows[j], mine, threshold, cover, scratch):
                        best = j
                    j = following[j]
    return best
