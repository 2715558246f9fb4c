"""Everything that the report says of a detector, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.average_precision import curve
from pipeline.evaluation.bootstrap import class_intervals, extents, make_units
from pipeline.evaluation.calibration import Judged as JudgedBoxes
from pipeline.evaluation.calibration import Reliability, judged_boxes, reliability
from pipeline.evaluation.errors.confusion import confusion
from pipeline.evaluation.errors.fixes import gain_of_all_found, gain_of_no_wrong, gains
from pipeline.evaluation.errors.kinds import ERRORS, FOUND_IOU, Judgement, Kind, judge
from pipeline.evaluation.errors.shares import Band, octaves, recall_in_bands
from pipeline.evaluation.errors.worst import Example, worst_errors
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.matching import match_classes
from pipeline.evaluation.sizes import SEAM_BANDS_PX, root_areas
from pipeline.types import FloatArray, IntArray

EXAMPLES = 8
"""Of each kind of error on the contact sheet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassCurve:
    """Precision over recall of one class at IoU 0.5, all scenes."""

    class_id: int
    recall: FloatArray
    """(N,)"""
    precision: FloatArray
    """(N,) monotone: the area under it is AP50."""
    interval: tuple[float, float]
    """95 % of AP50; NaN where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """The errors of a detector, and what they cost. Counts are of the detections of at least the score threshold."""

    judgement: Judgement
    curves: tuple[ClassCurve, ...]
    """Of the annotated classes."""
    counts: dict[Kind, int]
    counts_of_all: dict[Kind, int]
    """The same whatever the score."""
    gains: dict[Kind, float]
    gain_of_no_wrong: float
    gain_of_all_found: float
    confusion: IntArray
    """(C + 1, C + 1), see :func:`pipeline.evaluation.errors.confusion.confusion`."""
    by_size: tuple[Band, ...]
    """Root of the area, scene pixels."""
    by_seam: tuple[Band, ...] | None
    """Lattice pixels; None where no scene's tiles are known."""
    reliability: Reliability
    """Of the scores."""
    calibrated: Reliability | None
    """Of what the detector's calibration expects of the same detections; None where it has none."""
    worst: dict[Kind, tuple[Example, ...]]


def analyse(judged: Judged) -> Analysis:
    """All figures of the report that :func:`pipeline.evaluation.report.figures` has not."""
    names = list(judged.truth)
    found, truth = [judged.found[name] for name in names], [judged.truth[name] for name in names]
    judgement, least = judge(found, truth), judged.score_threshold
    sizes = root_areas(truth)
    boxes = judged_boxes(found, truth)
    return Analysis(
        judgement=judgement,
        curves=_curves(judged),
        counts=counts(judgement, least),
        counts_of_all=counts(judgement, 0.0),
        gains=gains(judgement),
        gain_of_no_wrong=gain_of_no_wrong(judgement),
        gain_of_all_found=gain_of_all_found(judgement),
        confusion=confusion(judgement, len(judged.classes), least),
        by_size=recall_in_bands(judgement, sizes, octaves(sizes[judgement.wanted]), least),
        by_seam=_by_seam(judged, judgement),
        reliability=reliability(boxes.scores, boxes.right),
        calibrated=_calibrated(judged, boxes),
        worst=worst_errors(judgement, sizes, least, EXAMPLES),
    )


def counts(judgement: Judgement, score_threshold: float) -> dict[Kind, int]:
    """How many errors there are of each kind among the detections of at least that score."""
    kinds = judgement.kind[judgement.scores >= score_threshold]
    made = {kind: int(np.count_nonzero(kinds == kind)) for kind in ERRORS}
    return {**made, Kind.MISSED: int(judgement.missed(score_threshold).sum())}


def _calibrated(judged: Judged, boxes: JudgedBoxes) -> Reliability | None:
    if judged.calibrated is None:
        return None
    return reliability(np.interp(boxes.scores, *judged.calibrated), boxes.right)


def _curves(judged: Judged) -> tuple[ClassCurve, ...]:
    names = list(judged.truth)
    found, truth = [judged.found[name] for name in names], [judged.truth[name] for name in names]
    units = make_units(truth, extents(found, truth))
    annotated = {one: m for one, m in match_classes(found, truth, (FOUND_IOU,)).items() if len(m.targets)}
    intervals = class_intervals(annotated, units, units.of_detections(found))
    made = []
    for class_id, matches in annotated.items():
        recall, precision = curve(matches)
        made.append(ClassCurve(class_id=class_id, recall=recall, precision=precision, interval=intervals[class_id]))
    return tuple(made)


def _by_seam(judged: Judged, judgement: Judgement) -> tuple[Band, ...] | None:
    known = [judged.seam_px.get(name, np.full(len(truth), np.nan)) for name, truth in judged.truth.items()]
    if not judged.seam_px:
        return None
    limits = np.concatenate([np.zeros(0), *known])
    # A scene of one tile has no seam: its objects are infinitely far from one, and in no band.
    return recall_in_bands(judgement, np.where(np.isinf(limits), np.nan, limits), SEAM_BANDS_PX, judged.score_threshold)
