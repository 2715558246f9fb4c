"""Average precision, precision and recall of oriented boxes over whole scenes.

The evaluator, so that a figure can be repeated:

* Overlap is the exact rotated IoU. Scenes are judged whole, after merging; no limit on detections per scene.
* Matching is COCO's: per class and scene, in order of descending score, a detection takes the free annotation it
  overlaps most, if that IoU is at least the threshold; then it is right. One that takes none is neither right nor
  wrong when an ignore region covers at least the threshold's share of it; otherwise it is wrong. (The DOTA and VOC
  kits look only at the annotation of largest overlap, free or not: with annotations that hardly overlap one another
  the answers are the same.)
* AP50 is the area under the precision-recall curve at IoU 0.5, precision made monotone, all points (VOC 2010 and
  later, DOTA's "VOC 12"). DOTA's "VOC 07" is the mean precision at the eleven recalls 0, 0.1 … 1. AP50:95 is COCO's:
  precision at 101 recalls, mean over IoU 0.50, 0.55 … 0.95.
* A figure for several classes is the mean over the classes that have annotations; NaN when none has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.geometry.obb import obb_to_aabb
from pipeline.geometry.overlap import intersection_area_pairs
from pipeline.types import BoolArray, Detections, FloatArray, IntArray

COCO_IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

EVERY_CLASS = -1
"""Class of an ignore region that concerns all classes."""

RIGHT, WRONG, NEITHER = 1, 0, -1


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """The truth of one scene, in the frame of the detections it is compared with."""

    boxes: FloatArray
    """(M, 5) oriented boxes."""
    class_ids: IntArray
    """(M,); :data:`EVERY_CLASS` is allowed for ignore regions."""
    ignore: BoolArray
    """(M,) True for regions where a detection is neither right nor wrong."""

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What became of the detections of one class, all scenes together, best score first."""

    scores: FloatArray
    """(N,)"""
    verdict: NDArray[np.int8]
    """(T, N) RIGHT, WRONG or NEITHER at each IoU threshold."""
    annotation: IntArray
    """(T, N) which annotation a right detection found, counted over all scenes; -1 otherwise."""
    targets: IntArray
    """(M,) the annotations of this class that were to be found, counted the same way."""
    annotation_count: int
    """Annotations of all scenes and classes, ignore regions included."""
    detection: IntArray
    """(N,) which detection this is, counted over all scenes and classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What a score threshold gives. Counts are whole numbers, except under the weights of a bootstrap."""

    score_threshold: float
    right: float
    wrong: float
    missed: float

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


def match_classes(
    detections: Sequence[Detections], annotations: Sequence[Annotations], iou_thresholds: Sequence[float]
) -> dict[int, Matches]:
    """Matches of every class that has a detection or an annotation, by class id.

    Raises ValueError when there are not as many scenes of detections as of annotations.
    """
    if len(detections) != len(annotations):
        raise ValueError(f"{len(detections)} scenes of detections, but {len(annotations)} of annotations")
    named = [d.class_ids for d in detections] + [a.class_ids[~a.ignore] for a in annotations]
    classes = np.unique(np.concatenate([np.zeros(0, np.int64), *named]))
    return {int(c): _match_class(detections, annotations, int(c), iou_thresholds) for c in classes}


def curve(matches: Matches, row: int = 0, weights: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Recall and monotone precision (N,) after each detection, at the IoU threshold of that row.

    ``weights`` counts every annotation of all scenes that many times (for the bootstrap); default: once. Needs an
    annotation with weight.
    """
    verdict = matches.verdict[row]
    weights = np.ones(matches.annotation_count) if weights is None else weights
    right = np.cumsum(np.where(verdict == RIGHT, weights[matches.annotation[row]], 0.0))
    wrong = np.cumsum(verdict == WRONG)
    precision = np.divide(right, right + wrong, out=np.zeros_like(right), where=right + wrong > 0)
    return right / weights[matches.targets].sum(), np.maximum.accumulate(precision[::-1])[::-1]


def area_under_curve(matches: Matches, row: int = 0, weights: FloatArray | None = None) -> float:
    """Average precision of one class as the area under the curve, all points; NaN without annotations."""
    if not _annotated(matches, weights):
        return float("nan")
    recall, precision = curve(matches, row, weights)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def sampled_average(matches: Matches, row: int = 0, points: int = 101) -> float:
    """Average precision of one class at one IoU threshold: mean precision at ``points`` equidistant recalls from 0
    to 1, 0 beyond the largest recall; 101 is COCO's, 11 VOC 2007's. NaN without annotations."""
    if not _annotated(matches, None):
        return float("nan")
    recall, precision = curve(matches, row)
    reached = np.searchsorted(recall, np.linspace(0.0, 1.0, points), side="left")
    return float(np.append(precision, 0.0)[reached].mean())


def coco_average(matches: Matches) -> float:
    """Mean over the IoU thresholds of the averages at 101 recalls; NaN without annotations."""
    return float(np.mean([sampled_average(matches, row) for row in range(len(matches.verdict))]))


def operating_point(
    found: Sequence[Matches], score_threshold: float, *, row: int = 0, weights: FloatArray | None = None
) -> OperatingPoint:
    """Precision, recall and F1 of the detections with at least that score, all classes counted together.

    With ``weights`` (per annotation of all scenes) right and missed annotations count that many times.
    """
    right = wrong = total = 0.0
    for matches in found:
        counts = np.ones(matches.annotation_count) if weights is None else weights
        chosen = matches.scores >= score_threshold
        hits = matches.annotation[row, chosen & (matches.verdict[row] == RIGHT)]
        right += counts[hits].sum()
        wrong += np.count_nonzero(chosen & (matches.verdict[row] == WRONG))
        total += counts[matches.targets].sum()
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


def bootstrap_intervals(
    found: Sequence[Matches], score_threshold: float, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of AP, precision, recall and F1 at the first IoU threshold of ``found``.

    What is resampled, with replacement: the annotated boxes of all scenes and classes; a right detection counts as
    often as the annotation it found was drawn. Wrong detections stay as they are, and so do the scenes: the interval
    says how much the figures depend on which objects happened to be there, not on which places were visited.
    """
    if not any(len(matches.targets) for matches in found):
        return dict.fromkeys(("ap", "precision", "recall", "f1"), (float("nan"), float("nan")))
    targets = np.concatenate([matches.targets for matches in found])
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(resamples):
        drawn = generator.choice(targets, len(targets))
        weights = np.bincount(drawn, minlength=found[0].annotation_count).astype(np.float64)
        point = operating_point(found, score_threshold, weights=weights)
        ap = mean_over_classes([area_under_curve(matches, weights=weights) for matches in found])
        rows.append((ap, point.precision, point.recall, point.f1))
    tail = 100 * (1 - level) / 2
    low, high = np.nanpercentile(np.array(rows), (tail, 100 - tail), axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(("ap", "precision", "recall", "f1"))}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _annotated(matches: Matches, weights: FloatArray | None) -> bool:
    return len(matches.targets) > 0 and (weights is None or weights[matches.targets].sum() > 0)


def _match_class(
    detections: Sequence[Detections], annotations: Sequence[Annotations], class_id: int, thresholds: Sequence[float]
) -> Matches:
    scores, verdicts, found, targets, origin, offset, seen = [], [], [], [], [], 0, 0
    for scene, truth in zip(detections, annotations, strict=True):
        rows = np.flatnonzero(scene.class_ids == class_id)
        rows = rows[np.lexsort([*scene.boxes[rows].T, -scene.scores[rows]])]
        own = scene[rows]
        wanted = np.flatnonzero((truth.class_ids == class_id) & ~truth.ignore)
        regions = np.flatnonzero(np.isin(truth.class_ids, (class_id, EVERY_CLASS)) & truth.ignore)
        verdict, taken = _match_scene(own.boxes, truth.boxes[wanted], truth.boxes[regions], thresholds)
        scores.append(own.scores)
        verdicts.append(verdict)
        found.append(np.where(taken >= 0, offset + np.append(wanted, 0)[taken], -1))
        targets.append(offset + wanted)
        origin.append(seen + rows)
        offset, seen = offset + len(truth), seen + len(scene)
    if not scores:
        return Matches(np.zeros(0), np.zeros((len(thresholds), 0), np.int8), np.zeros((len(thresholds), 0), np.int64),
                       np.zeros(0, np.int64), 0, np.zeros(0, np.int64))  # fmt: skip
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Matches(np.concatenate(scores)[order], np.concatenate(verdicts, axis=1)[:, order],
                   np.concatenate(found, axis=1)[:, order], np.concatenate(targets), offset,
                   np.concatenate(origin)[order])  # fmt: skip


def _match_scene(
    boxes: FloatArray, wanted: FloatArray, regions: FloatArray, thresholds: Sequence[float]
) -> tuple[NDArray[np.int8], IntArray]:
    """Verdict (T, N) and taken annotation (T, N), -1 for none, of ranked boxes (N, 5) of one class in one scene."""
    found, target, common = _overlaps(boxes, wanted)
    areas = boxes[:, 2] * boxes[:, 3]
    iou = common / (areas[found] + wanted[target, 2] * wanted[target, 3] - common)
    inside = np.zeros(len(boxes))
    covered, _, share = _overlaps(boxes, regions)
    np.maximum.at(inside, covered, share / areas[covered])
    taken = np.stack([_take(found, target, iou, threshold, len(boxes)) for threshold in thresholds])
    excused = inside[None, :] >= np.array(thresholds)[:, None]
    verdict = np.where(taken >= 0, RIGHT, np.where(excused, NEITHER, WRONG))
    return verdict.astype(np.int8), taken


def _overlaps(a: FloatArray, b: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows of a, rows of b and common areas of all pairs that overlap, by row of a, then b."""
    i, j = shapely.STRtree(shapely.box(*obb_to_aabb(b).T)).query(shapely.box(*obb_to_aabb(a).T))
    order = np.lexsort([j, i])
    i, j = i[order], j[order]
    common = intersection_area_pairs(a[i], b[j])
    return i[common > 0], j[common > 0], common[common > 0]


def _take(found: IntArray, target: IntArray, iou: FloatArray, threshold: float, count: int) -> IntArray:
    """(count,) which target each detection takes, best detection first, each target once; -1 for none."""
    taken, free = np.full(count, -1, np.int64), set(target.tolist())
    best = np.zeros(count)
    for d, t, overlap in zip(found.tolist(), target.tolist(), iou.tolist(), strict=True):
        if overlap >= max(threshold, best[d]) and t in free:
            if taken[d] >= 0:
                free.add(int(taken[d]))
            free.remove(t)
            taken[d], best[d] = t, overlap
    return taken
