"""The merge in parts of bounded size, for any number of boxes: bit for bit what :mod:`pipeline.geometry.nms` gives.

Detections are cut by place into cores of about equal size (a k-d tree; Bentley, CACM 18(9), 1975). What becomes of a
box depends on few others, wherever the cuts run:

* a cut box on the whole boxes, of any rank, that cover enough of it;
* any box on the boxes ranked before it that would suppress it, if they are kept;
* and so on for those.

The boxes that a core depends on in this way, step by step until nothing is added, are its closure. Core and closure
together are all that a part's task is given, and the kernel of the one big merge then says of the core's boxes exactly
what it would have said. A closure reaches as far as chains of overlapping boxes do and no farther: no halo is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

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
from pipeline.geometry.nms import COVERED, groups_of, settled, total_order, winners
from pipeline.types import BoolArray, Detections, FloatArray, IntArray

PARTITION_BOXES = 200_000
"""Most boxes of one core; no more than that are merged in one go."""

P = TypeVar("P")
R = TypeVar("R")


class RunAll(Protocol):
    """Applies a pure, picklable function to every part, anywhere; answers in the order of the parts."""

    def __call__(self, function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One task: M boxes in total order, core and closure together."""

    rank: IntArray
    """(M,) their ranks among all boxes, ascending."""
    boxes: FloatArray
    """(M, 5)"""
    groups: IntArray
    """(M,) what each competes in."""
    edge: BoolArray
    """(M,)"""
    core: BoolArray
    """(M,) the boxes that this part is to decide."""
    iou_threshold: float


def merge_in_parts(
    detections: Detections,
    run: RunAll,
    *,
    iou_threshold: float,
    class_groups: IntArray | None = None,
    partition_boxes: int,
) -> Detections:
    """:func:`~pipeline.geometry.nms.merge` of these, with ``run`` doing the work, ``partition_boxes`` at a time."""
    ranked = detections[total_order(detections)]
    winner = np.arange(len(ranked))
    for core, lost_to in run(decide, parts_of(ranked, groups_of(ranked, class_groups), iou_threshold, partition_boxes)):
        winner[core] = lost_to
    return settled(ranked, winner)


def decide(part: Part) -> tuple[IntArray, IntArray]:
    """Ranks of a part's core, and of the boxes that these lose to (:func:`pipeline.geometry.nms.winners`)."""
    winner = winners(part.boxes, part.groups, part.edge, part.iou_threshold)
    return part.rank[part.core], part.rank[winner[part.core]]


def parts_of(ranked: Detections, groups: IntArray, iou_threshold: float, partition_boxes: int) -> Iterator[Part]:
    """The parts of detections in total order, made one after the other; every box is in the core of exactly one.

    Raises ValueError when a box is not finite or has a negative size.
    """
    index = RankedBoxes.of(ranked.boxes, groups)
    grid = _filled(*index)
    role = np.zeros(len(ranked), np.int8)
    for core in cores_of(ranked.boxes[:, :2], partition_boxes):
        rank = np.sort(_with_closure(*index, grid, ranked.edge, core, float(iou_threshold), role))
        yield Part(
            rank=rank,
            boxes=ranked.boxes[rank],
            groups=groups[rank],
            edge=ranked.edge[rank],
            core=role[rank] == _CORE,
            iou_threshold=iou_threshold,
        )
        role[rank] = _ABSENT


def cores_of(places: FloatArray, most: int) -> list[IntArray]:
    """Row numbers of points (N, 2) in groups of at most ``most``, each in a rectangle of its own (but for its rim)."""
    waiting, cores = [(np.arange(len(places)), *np.ascontiguousarray(places.T))], []
    while waiting:
        rows, x, y = waiting.pop()
        if len(rows) <= most:
            cores.append(rows)
            continue
        middle = len(rows) // 2
        order = np.argpartition(x if np.ptp(x) >= np.ptp(y) else y, middle)
        waiting += [(rows[half], x[half], y[half]) for half in (order[middle:], order[:middle])]
    return cores


@compiled
def _filled(rows: FloatArray, level: IntArray, side: FloatArray) -> Grid:
    """All boxes that have an area, in one grid."""
    grid: Grid = empty_grid(len(rows))
    for i in range(len(rows)):
        if level[i] != NONE:
            add_box(rows, level, side, grid, i)
    return grid


_ABSENT, _COVERING, _RIVAL, _CORE = 0, 1, 2, 3
"""Role of a box in a part: none; it may cover a cut box; its own fate matters to another's; it is to be decided."""


@compiled
def _with_closure(
    rows: FloatArray, level: IntArray, side: FloatArray, grid: Grid, edge: BoolArray, core: IntArray,
    threshold: float, role: NDArray[np.int8],
) -> IntArray:  # fmt: skip
    """Ranks of ``core`` and of its closure, in no order; ``role`` (N,), 0 everywhere before, tells them apart.

    No centre of another box lies inside the core's rectangle. So a core box is looked up only on those levels whose
    boxes could reach it from beyond the rim, and the search costs what the rim costs, not what the area costs.
    """
    rim, nowhere = np.array([np.inf, -np.inf, np.inf, -np.inf]), np.array([np.inf, -np.inf, np.inf, -np.inf])
    for i in core:
        role[i] = _CORE
        rim[0], rim[1] = min(rim[0], rows[i, 0]), max(rim[1], rows[i, 0])
        rim[2], rim[3] = min(rim[2], rows[i, 1]), max(rim[3], rows[i, 1])
    found, waiting = list(core), list(core)
    while len(waiting):
        i = waiting.pop()
        if level[i] == NONE:
            continue
        around = rim if role[i] == _CORE else nowhere
        covered = False
        if edge[i]:
            for j in _rivals(rows, side, grid, i, COVERED, True, around):
                if not edge[j]:
                    covered = True
                    _enlist(j, _COVERING, role, found, waiting)
        if not covered:
            for j in _rivals(rows, side, grid, i, threshold, False, around):
                if j < i:
                    _enlist(j, _RIVAL, role, found, waiting)
    return np.array(found)


@compiled
def _enlist(j: int, needed_as: int, role: NDArray[np.int8], found: list[int], waiting: list[int]) -> None:
    """Box j is needed. If its own fate matters, and did not so far, what it depends on is yet to be found."""
    if role[j] == _ABSENT:
        found.append(j)
    if role[j] < needed_as:
        role[j] = needed_as
        if needed_as == _RIVAL:
            waiting.append(j)


@compiled
def _rivals(
    rows: FloatArray, side: FloatArray, grid: Grid, i: int, threshold: float, cover: bool, rim: FloatArray
) -> list[int]:
    """Ranks of all boxes that beat box i, but for those on levels that cannot reach it from beyond the ``rim``."""
    heads, following = grid
    mine, scratch, out = rows[i], np.empty((2, 24, 2)), [i][:0]
    x, y, x1, y1 = mine[0] - rim[0], mine[1] - rim[2], rim[1] - mine[0], rim[3] - mine[1]
    for level in range(len(side)):
        cell = side[level]
        inside = min(x, x1) > mine[5] + 0.51 * cell and min(y, y1) > mine[6] + 0.51 * cell  # half, and rounding
        if inside or too_fine(mine, cell, threshold):
            continue
        left, right, top, bottom = cells_around(mine, cell)
        for column in range(left, right + 1):
            for row in range(top, bottom + 1):
                j = heads[bucket(column, row, level, mine[8], len(heads))]
                while j != NONE:
                    if j != i and beats(rows[j], mine, threshold, cover, scratch):
                        out.append(j)
                    j = following[j]
    return out
