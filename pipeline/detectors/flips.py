"""Looking four times: a chip as it is, mirrored along x, along y, and both. For any detector; it wraps one.

What the four looks say of one object becomes one box. This is a decision of ours: boxes of one class are grouped from
the best score down, at most one of each look, whichever overlaps the group's first box most, by a rotated IoU of at
least SAME_IOU. The score is the mean over all four looks, and a look that did not answer there counts as 0: an object
that is seen but in one mirror was hardly seen. (The maximum would leave the order of single answers as it is.) The box
is the mean of the group's boxes, weighted by their scores, with angles taken relative to the first box. So scores are
lower than those of one look, and a threshold or calibration is of either, not of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.protocol import Detector
from pipeline.geometry.nms import total_order
from pipeline.geometry.obb import canonical_obb, mirrored
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.types import AttentionMap, Chip, Detections, DifferenceMap, FloatArray, Frame, IntArray, Look, ModelCard

VIEWS = ((False, False), (True, False), (False, True), (True, True))
"""Along which axes, x and y, each look is mirrored."""
SAME_IOU = 0.5
"""From this rotated IoU on, boxes of two looks are one object."""
LOWEST_SCORE = 0.005
"""What a look says below it counts as not seen: a dense head says something of every point."""
MOST_BOXES = 1000
"""Boxes of each look at a chip that take part, the best: bounds time where a head says something of every point."""
ROWS = 256
"""Boxes that are compared with all others at once: bounds memory."""
NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Flipping:
    """A detector that looks at every chip four times. Implements :class:`~pipeline.detectors.protocol.Detector`."""

    inner: Detector

    @property
    def card(self) -> ModelCard:
        return self.inner.card

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """See :meth:`pipeline.detectors.protocol.Detector.detect`; a batch is one of the inner detector's, four times.

        It is asked for all from LOWEST_SCORE on, as what a threshold lets through depends on all four looks.
        """
        answers = [
            self.inner.detect(
                [_mirror(chip, axes) for chip in chips], score_threshold=LOWEST_SCORE, attention=attention
            )
            for axes in VIEWS
        ]
        return [
            _merged([_mirrored_back(*one, chip) for one in zip(looks, VIEWS, strict=True)], score_threshold)
            for chip, *looks in zip(chips, *answers, strict=True)
        ]


def _mirror(chip: Chip, axes: tuple[bool, bool]) -> Chip:
    pixels = np.ascontiguousarray(_turned(chip.pixels, axes))
    return replace(chip, pixels=pixels, mirrored=(chip.mirrored[0] != axes[0], chip.mirrored[1] != axes[1]))


def _mirrored_back(look: Look, axes: tuple[bool, bool], chip: Chip) -> Look:
    """The look at a mirrored chip, in the frame of the chip as it is."""
    height, width = chip.pixels.shape[:2]
    boxes = mirrored(look.detections.boxes, axes, width=width, height=height)
    attention, difference = look.attention, look.difference
    return Look(
        replace(look.detections, boxes=boxes),
        None if attention is None else replace(attention, mass=_turned(attention.mass, axes)),
        None if difference is None else replace(difference, values=_turned(difference.values, axes)),
    )


def _turned(grid: NDArray[Any], axes: tuple[bool, bool]) -> NDArray[Any]:
    """Rows and columns (and what they hold) mirrored along x, along y: a view."""
    along_x, along_y = axes
    return grid[:: -1 if along_y else 1, :: -1 if along_x else 1]


def _merged(looks: Sequence[Look], score_threshold: float) -> Look:
    found = [one[total_order(one)[:MOST_BOXES]] for one in (look.detections for look in looks)]
    view = np.repeat(np.arange(len(found)), [len(one) for one in found])
    every = Detections.concat(found, Frame.CHIP)
    order = total_order(every)
    boxes = merge_views(every[order], view[order])
    attention = [look.attention for look in looks if look.attention is not None]
    difference = [look.difference for look in looks if look.difference is not None]
    return Look(boxes[boxes.scores >= score_threshold], _mean_attention(attention), _mean_difference(difference))


def _mean_attention(maps: Sequence[AttentionMap]) -> AttentionMap | None:
    """The mean of all maps, which still sums to 1 with what fell outside; None where the detector gives none."""
    if not maps:
        return None
    return AttentionMap(np.mean([one.mass for one in maps], axis=0), float(np.mean([one.outside for one in maps])))


def _mean_difference(maps: Sequence[DifferenceMap]) -> DifferenceMap | None:
    return DifferenceMap(np.mean([one.values for one in maps], axis=0)) if maps else None


def merge_views(ranked: Detections, view: IntArray) -> Detections:
    """One box for each group of boxes that are of one object, best first; see the head of this file.

    ``ranked`` (N,) in total order, all in one frame, ``view`` (N,) the look that each is of.
    """
    first = _groups(ranked, view)
    leaders = np.flatnonzero(first == np.arange(len(ranked)))
    number = np.searchsorted(leaders, first)
    total = np.bincount(number, weights=ranked.scores, minlength=len(leaders))
    boxes = _mean_boxes(ranked.boxes, ranked.scores, ranked.boxes[first], number, len(leaders))
    merged = replace(ranked[leaders], boxes=boxes, scores=total / len(VIEWS))
    return merged[total_order(merged)]


def _groups(ranked: Detections, view: IntArray) -> IntArray:
    """(N,) the row of the best box of the group that each box is in."""
    count = len(ranked)
    one, other, overlap = _overlaps(ranked)
    bounds = np.searchsorted(one, np.arange(count + 1))
    first = np.full(count, -1, np.int64)
    for row in range(count):
        if first[row] >= 0:
            continue
        first[row] = row
        near = slice(bounds[row], bounds[row + 1])
        taken = {int(view[row])}
        for rival in other[near][np.argsort(-overlap[near], kind="stable")].tolist():
            if first[rival] < 0 and int(view[rival]) not in taken:
                first[rival] = row
                taken.add(int(view[rival]))
    return first


def _overlaps(ranked: Detections) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows, later rows and rotated IoU of all pairs of one class that overlap by SAME_IOU, by row, then later row.

    Centres of such boxes are never farther apart than the longer one is long.
    """
    one, other = (np.concatenate(rows) for rows in zip(*_near(ranked), strict=True)) if len(ranked) else (NONE, NONE)
    boxes = ranked.boxes
    overlap = rotated_iou_pairs(boxes[one], boxes[other])
    same = overlap >= SAME_IOU
    return one[same], other[same], overlap[same]


def _near(ranked: Detections) -> Iterator[tuple[IntArray, IntArray]]:
    """Rows and later rows of all pairs of one class whose centres are near enough, so many rows at a time."""
    boxes, classes = ranked.boxes, ranked.class_ids
    for start in range(0, len(ranked), ROWS):
        own = slice(start, start + ROWS)
        far = np.hypot(boxes[own, None, 0] - boxes[None, :, 0], boxes[own, None, 1] - boxes[None, :, 1])
        near = (far < np.maximum(boxes[own, None, 2], boxes[None, :, 2])) & (classes[own, None] == classes[None, :])
        one, other = np.nonzero(np.triu(near, start + 1))
        yield one + start, other


def _mean_boxes(
    boxes: FloatArray, weights: FloatArray, leaders: FloatArray, number: IntArray, count: int
) -> FloatArray:
    """(count, 5) the mean box of each group, weighted; ``leaders`` (N, 5) is the first box of each one's group.

    A box and itself turned by a quarter, its sides exchanged, are one: of both, what lies nearer to the first is meant.
    """
    turn = boxes[:, 4] - leaders[:, 4]
    quarters = np.rint(turn / (np.pi / 2))
    across = (quarters % 2).astype(np.bool_)
    aligned = np.column_stack(
        [boxes[:, :2], np.where(across[:, None], boxes[:, [3, 2]], boxes[:, 2:4]), turn - quarters * (np.pi / 2)]
    )
    aligned[:, :4] -= leaders[:, :4]
    weights = np.maximum(weights, 1e-12)
    total = np.bincount(number, weights=weights, minlength=count)
    shift = np.column_stack(
        [np.bincount(number, weights=weights * column, minlength=count) / total for column in aligned.T]
    )
    first = np.zeros((count, 5))
    first[number] = leaders
    return canonical_obb(first + shift)
