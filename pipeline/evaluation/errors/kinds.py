"""What is wrong with every wrong detection, and which objects nobody explains: error kinds after TIDE.

Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (ECCV 2020), section 2, with the exact
rotated IoU and our matching. Two thresholds: a detection is right from an IoU of ``found`` (t_f = 0.5) on, and below
``near`` (t_b = 0.1) it has nothing to do with an object. Of a wrong detection let *own* be the largest IoU with an
object of its class and *other* the largest with an object of another class; its kind is the first that holds:

* duplicate: own >= t_f. (The object was taken by a detection of a higher score, or else this one would be right.)
* wrong class: other >= t_f.
* poor localisation: own >= t_b.
* wrong class and poor localisation: other >= t_b.
* background: neither.

So every wrong detection has one kind. (The paper's definitions overlap where a detection lies on objects of two
classes, and its program asks for poor localisation before wrong class; here the better overlap explains more.) An
object that no detection found is *missed* unless a detection of wrong class or of poor localisation has it as its best
object: then repairing that detection finds it. What an ignore region excuses has no kind, and ignore regions are no
objects here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.matching import RIGHT, WRONG, match_classes, overlaps
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.types import BoolArray, Detections, FloatArray, IntArray

FOUND_IOU, NEAR_IOU = 0.5, 0.1
"""TIDE's t_f and t_b."""


class Kind(IntEnum):
    """What a detection is; ``MISSED`` is what an object can be."""

    NOT_JUDGED = -1
    RIGHT = 0
    DUPLICATE = 1
    WRONG_CLASS = 2
    POOR_LOCALISATION = 3
    WRONG_CLASS_AND_POOR_LOCALISATION = 4
    BACKGROUND = 5
    MISSED = 6

    @property
    def text(self) -> str:
        """For people and files: ``poor localisation``."""
        return self.name.lower().replace("_", " ")


ERRORS = (
    Kind.MISSED,
    Kind.BACKGROUND,
    Kind.DUPLICATE,
    Kind.POOR_LOCALISATION,
    Kind.WRONG_CLASS,
    Kind.WRONG_CLASS_AND_POOR_LOCALISATION,
)
"""The kinds of errors, in the order of the report."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Judgement:
    """What became of all D detections and A annotations of all scenes, each counted one scene after another."""

    scores: FloatArray
    """(D,)"""
    class_ids: IntArray
    """(D,)"""
    scene: IntArray
    """(D,) which scene each is of."""
    ranked: IntArray
    """(D,) all detections, best score first; those of one class in the order in which matching saw them."""
    kind: IntArray
    """(D,) values of :class:`Kind`."""
    target: IntArray
    """(D,) the annotation that a detection found, or that its kind speaks of; -1 for none."""
    iou: FloatArray
    """(D,) with that annotation; 0 for none."""
    found_by: IntArray
    """(A,) the detection that found it; -1 for none."""
    wanted: BoolArray
    """(A,) True for what was to be found, False for ignore regions."""
    annotation_class: IntArray
    """(A,)"""
    annotation_scene: IntArray
    """(A,)"""

    def missed(self, score_threshold: float = 0.0) -> BoolArray:
        """(A,) the objects that are missed when detections of a lower score do not count; see the module."""
        return self.unfound(score_threshold) & ~self.explained(score_threshold)

    def unfound(self, score_threshold: float = 0.0) -> BoolArray:
        """(A,) the objects that no detection of at least that score found."""
        seen = self.scores >= score_threshold
        unfound: BoolArray = self.wanted & ~np.append(seen, False)[self.found_by]
        return unfound

    def explained(self, score_threshold: float = 0.0) -> BoolArray:
        """(A,) the best objects of detections of at least that score with the wrong class or poor localisation."""
        near = np.isin(self.kind, (Kind.WRONG_CLASS, Kind.POOR_LOCALISATION)) & (self.scores >= score_threshold)
        explained = np.zeros(len(self.wanted), np.bool_)
        explained[self.target[near]] = True
        return explained


def judge(detections: Sequence[Detections], annotations: Sequence[Annotations]) -> Judgement:
    """The kind of every detection; one entry per scene each. Raises ValueError as matching does."""
    found = match_classes(detections, annotations, (FOUND_IOU,))
    count, total = sum(map(len, detections)), sum(map(len, annotations))
    verdict, taken, place = np.zeros(count, np.int64), np.full(count, -1, np.int64), np.zeros(count, np.int64)
    for matches in found.values():
        verdict[matches.detection], taken[matches.detection] = matches.verdict[0], matches.annotation[0]
        place[matches.detection] = np.arange(len(matches.detection))
    own, other = _nearest(detections, annotations)
    kind, target, iou = _kinds(verdict == WRONG, own, other)
    right = verdict == RIGHT
    kind[right], target[right] = Kind.RIGHT, taken[right]
    iou[right] = _iou_of(right, taken, detections, annotations)
    found_by = np.full(total, -1, np.int64)
    found_by[taken[right]] = np.flatnonzero(right)
    scores = _column(detections, "scores", np.float64)
    return Judgement(
        scores=scores,
        class_ids=_column(detections, "class_ids", np.int64),
        scene=np.repeat(np.arange(len(detections)), [len(one) for one in detections]),
        ranked=np.lexsort((place, -scores)),
        kind=kind,
        target=target,
        iou=iou,
        found_by=found_by,
        wanted=~_column(annotations, "ignore", np.bool_),
        annotation_class=_column(annotations, "class_ids", np.int64),
        annotation_scene=np.repeat(np.arange(len(annotations)), [len(one) for one in annotations]),
    )


Nearest = tuple[FloatArray, IntArray]
"""Largest IoU (D,) of every detection with some objects, and which object (D,) that is; 0 and -1 for none."""


def _kinds(wrong: BoolArray, own: Nearest, other: Nearest) -> tuple[IntArray, IntArray, FloatArray]:
    """Kind, target and IoU (D,) of the wrong detections; all others are not judged."""
    kind = np.where(wrong, Kind.BACKGROUND, Kind.NOT_JUDGED).astype(np.int64)
    target, iou = np.full(len(wrong), -1, np.int64), np.zeros(len(wrong))
    for name, (overlap, which), least in (
        (Kind.WRONG_CLASS_AND_POOR_LOCALISATION, other, NEAR_IOU),
        (Kind.POOR_LOCALISATION, own, NEAR_IOU),
        (Kind.WRONG_CLASS, other, FOUND_IOU),
        (Kind.DUPLICATE, own, FOUND_IOU),
    ):  # the strongest comes last and stays
        rows = wrong & (overlap >= least)
        kind[rows], target[rows], iou[rows] = name, which[rows], overlap[rows]
    return kind, target, iou


def _nearest(detections: Sequence[Detections], annotations: Sequence[Annotations]) -> tuple[Nearest, Nearest]:
    """For all detections: the nearest object of their own class, and of another."""
    parts: list[list[Nearest]] = [[(np.zeros(0), np.zeros(0, np.int64))] for _ in range(2)]
    first = 0
    for found, truth in zip(detections, annotations, strict=True):
        objects = np.flatnonzero(~truth.ignore)
        boxes = truth.boxes[objects]
        row, column, common = overlaps(found.boxes, boxes)
        areas = found.boxes[:, 2] * found.boxes[:, 3]
        iou = common / (areas[row] + boxes[column, 2] * boxes[column, 3] - common)
        same = found.class_ids[row] == truth.class_ids[objects[column]]
        for part, chosen in zip(parts, (same, ~same), strict=True):
            part.append(_largest(row[chosen], first + objects[column[chosen]], iou[chosen], len(found)))
        first += len(truth)
    own, other = ((np.concatenate([i for i, _ in part]), np.concatenate([w for _, w in part])) for part in parts)
    return own, other


def _largest(row: IntArray, which: IntArray, iou: FloatArray, count: int) -> Nearest:
    """Per row (count,) the largest IoU and what has it; of equals the first."""
    order = np.lexsort((which, -iou, row))
    rows, firsts = np.unique(row[order], return_index=True)
    largest, nearest = np.zeros(count), np.full(count, -1, np.int64)
    largest[rows], nearest[rows] = iou[order][firsts], which[order][firsts]
    return largest, nearest


def _iou_of(
    right: BoolArray, taken: IntArray, detections: Sequence[Detections], annotations: Sequence[Annotations]
) -> FloatArray:
    """(R,) IoU of the right detections with what they found."""
    boxes = np.concatenate([np.zeros((0, 5)), *(one.boxes for one in detections)])[right]
    objects = np.concatenate([np.zeros((0, 5)), *(one.boxes for one in annotations)])[taken[right]]
    return rotated_iou_pairs(boxes, objects)


def _column(parts: Sequence[Detections] | Sequence[Annotations], name: str, kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *(getattr(part, name) for part in parts)])
