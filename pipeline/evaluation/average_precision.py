"""Average precision, precision and recall of oriented boxes over whole scenes.

The evaluator, so that a figure can be repeated:

* Overlap is the exact rotated IoU. Scenes are judged whole, after merging; no limit on detections per scene.
* Matching is COCO's: per class and scene, in order of descending score, a detection takes the free annotation it
  overlaps most, if that IoU is at least the threshold; then it is right. One that takes none is neither right nor
  wrong when an ignore region covers at least the threshold's share of it; otherwise it is wrong. (The DOTA and VOC
  kits look only at the annotation of largest overlap, free or not: with annotations that hardly overlap one another
  the answers are the same.)
* AP50 is the area under the precision-recall curve at IoU 0.5, precision made monotone, all points (VOC 2010 and
  later, DOTA's "VOC 12"); AP75 the same at IoU 0.75. DOTA's "VOC 07" is the mean precision at the eleven recalls
  0, 0.1 … 1. AP50:95 is COCO's: precision at 101 recalls, mean over IoU 0.50, 0.55 … 0.95.
* A figure for several classes is the mean over the classes that have annotations; NaN when none has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.matching import RIGHT, WRONG, Matches, match_classes
from pipeline.types import Detections, FloatArray

COCO_IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
STRICT = COCO_IOU_THRESHOLDS.index(0.75)
"""The row of IoU 0.75 in matches at these thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What a score threshold gives."""

    score_threshold: float
    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """NaN when nothing was detected."""
        return _ratio(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """NaN when nothing was to be found."""
        return _ratio(self.right, self.right + self.missed)

    @property
    def f1(self) -> float:
        """NaN when nothing was detected and nothing was to be found."""
        return _ratio(2 * self.right, 2 * self.right + self.wrong + self.missed)


def average_precision(
    detections: Sequence[Detections], annotations: Sequence[Annotations], *, iou_threshold: float = 0.5
) -> float:
    """VOC/DOTA average precision (area under the curve), mean over annotated classes; one entry per scene each."""
    found = match_classes(detections, annotations, (iou_threshold,))
    return mean_over_classes([area_under_curve(matches) for matches in found.values()])


def average_precision_coco(detections: Sequence[Detections], annotations: Sequence[Annotations]) -> float:
    """AP50:95 with COCO's 101 recalls, mean over annotated classes; one entry per scene each."""
    found = match_classes(detections, annotations, COCO_IOU_THRESHOLDS)
    return mean_over_classes([coco_average(matches) for matches in found.values()])


def mean_over_classes(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN when there are none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def curve(matches: Matches, row: int = 0) -> tuple[FloatArray, FloatArray]:
    """Recall and monotone precision (N,) after each detection, at the IoU threshold of that row.

    Needs an annotation.
    """
    verdict = matches.verdict[row]
    right = np.cumsum(verdict == RIGHT).astype(np.float64)
    judged = right + np.cumsum(verdict == WRONG)
    precision = np.divide(right, judged, out=np.zeros_like(right), where=judged > 0)
    return right / len(matches.targets), np.maximum.accumulate(precision[::-1])[::-1]


def area_under_curve(matches: Matches, row: int = 0) -> float:
    """Average precision of one class as the area under the curve, all points; NaN without annotations."""
    if not len(matches.targets):
        return float("nan")
    recall, precision = curve(matches, row)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def sampled_average(matches: Matches, row: int = 0, points: int = 101) -> float:
    """Average precision of one class at one IoU threshold: mean precision at ``points`` equidistant recalls from 0
    to 1, 0 beyond the largest recall; 101 is COCO's, 11 VOC 2007's. NaN without annotations."""
    if not len(matches.targets):
        return float("nan")
    recall, precision = curve(matches, row)
    reached = np.searchsorted(recall, np.linspace(0.0, 1.0, points), side="left")
    return float(np.append(precision, 0.0)[reached].mean())


def coco_average(matches: Matches) -> float:
    """Mean over the IoU thresholds of the averages at 101 recalls; NaN without annotations."""
    return float(np.mean([sampled_average(matches, row) for row in range(len(matches.verdict))]))


def operating_point(found: Sequence[Matches], score_threshold: float, *, row: int = 0) -> OperatingPoint:
    """Precision, recall and F1 of the detections with at least that score, all classes counted together."""
    right = wrong = total = 0
    for matches in found:
        chosen = matches.verdict[row, matches.scores >= score_threshold]
        right += int(np.count_nonzero(chosen == RIGHT))
        wrong += int(np.count_nonzero(chosen == WRONG))
        total += len(matches.targets)
    return OperatingPoint(score_threshold=score_threshold, right=right, wrong=wrong, missed=total - right)


def best_f1_score_threshold(found: Sequence[Matches], *, row: int = 0) -> float:
    """The score, among those of the detections, at which F1 over all classes is highest; NaN without detections.

    Choose thresholds on data that is not reported on.
    """
    scores = np.concatenate([np.zeros(0), *(matches.scores for matches in found)])
    verdict = np.concatenate([np.zeros(0, np.int8), *(matches.verdict[row] for matches in found)])
    if len(scores) == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    right, wrong = np.cumsum(verdict[order] == RIGHT), np.cumsum(verdict[order] == WRONG)
    f1 = 2 * right / (right + wrong + sum(len(matches.targets) for matches in found)).clip(min=1)
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    return float(scores[order][np.argmax(np.where(last_of_score, f1, -1.0))])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
