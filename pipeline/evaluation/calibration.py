"""From detections whose truth is known to a calibration: which share of single boxes of a score is right.

Beta calibration (Kull, Silva Filho and Flach 2017): logistic regression of right or wrong on ln s and -ln(1 - s), both
with a factor of at least 0, so the share never falls with the score s. Three numbers: with few boxes it errs less than
isotonic regression, with many as little (measured: README.md). Its curve becomes the points of a line, level above the
scores that there were and falling to 0 below them. Right is what matching says at IoU 0.5, after every scene was
merged; a second box on one object is wrong. What an ignore region excuses is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.matching import NEITHER, RIGHT, match_classes
from pipeline.types import BoolArray, Calibration, Detections, FloatArray, IntArray

IOU = 0.5
METHOD = "beta calibration"
FEWEST_BOXES = 50
"""Of fewer no calibration is made."""
FOLDS = 10
"""Groups of scenes, at most, by which the error after calibration is measured."""
BINS = 10
DIGITS = 4
STEP = 0.05
"""Of the scores between the lowest and the highest at which the curve becomes points."""
SMALLEST = 1e-6
"""Scores are taken to lie so far from 0 and 1 at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Boxes that are right or wrong, of all classes and scenes."""

    scores: FloatArray
    """(N,)"""
    right: BoolArray
    """(N,)"""
    scene: IntArray
    """(N,) which scene each is of."""

    def __getitem__(self, keep: BoolArray) -> Judged:
        return Judged(self.scores[keep], self.right[keep], self.scene[keep])


def judged_boxes(detections: Sequence[Detections], annotations: Sequence[Annotations]) -> Judged:
    """Every detection that is right or wrong at IoU; one entry per scene each. Raises ValueError as matching does."""
    of_scene = np.repeat(np.arange(len(detections)), [len(one) for one in detections])
    parts = [Judged(np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.int64))]
    for matches in match_classes(detections, annotations, (IOU,)).values():
        verdict = matches.verdict[0]
        every = Judged(matches.scores, verdict == RIGHT, of_scene[matches.detection])
        parts.append(every[verdict != NEITHER])
    return Judged(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("scores", "right", "scene")))


def calibrate(
    names: Sequence[str], detections: Sequence[Detections], annotations: Sequence[Annotations], *, flips: bool = False
) -> Calibration | None:
    """The calibration of a detector from scenes that it was not trained on; one entry per scene each.

    None where fewer than FEWEST_BOXES boxes are right or wrong: they say too little.
    """
    boxes = judged_boxes(detections, annotations)
    if len(boxes.scores) < FEWEST_BOXES:
        return None
    scores, shares = fitted_line(boxes.scores, boxes.right)
    after = _held_out(boxes)
    return Calibration(
        method=METHOD, scores=tuple(scores.tolist()), precision=tuple(shares.tolist()), boxes=len(boxes.scores),
        iou=IOU, scenes=tuple(names), flips=flips, ece_before=_rounded(calibration_error(boxes.scores, boxes.right)),
        ece_after=None if after is None else _rounded(calibration_error(after, boxes.right)),
    )  # fmt: skip


def fitted_line(scores: FloatArray, right: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Points (K,) of scores, strictly ascending, and the never falling shares (K,) of right boxes there.

    ``scores`` and ``right`` (N,), N at least 1. Below the lowest of them nothing was seen: there it falls to 0.
    """
    low, high = np.floor(scores.min() * 10**DIGITS), np.ceil(scores.max() * 10**DIGITS)
    steps = np.arange(0.0, 1.0, STEP) * 10**DIGITS
    points = np.unique(np.rint([low, *steps[(steps > low) & (steps < high)], high])) / 10**DIGITS
    shares = np.round(_shares(points, _factors(scores, right)), DIGITS)
    return (points, shares) if low == 0 else (np.insert(points, 0, 0.0), np.insert(shares, 0, 0.0))


def _factors(scores: FloatArray, right: BoolArray) -> FloatArray:
    """(3,) of ln s, of -ln(1 - s), and of 1; the first two are at least 0."""
    count, hits = len(right), int(np.count_nonzero(right))
    # Platt's targets (1999): short of 0 and 1 by what so many boxes cannot tell, so that all right is no certainty.
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (count - hits + 2))
    inputs = _inputs(scores)
    for used in ((0, 1, 2), (0, 2), (1, 2), (2,)):
        factors = np.zeros(3)
        factors[list(used)] = _logistic_regression(inputs[:, used], targets)
        if (factors[:2] >= 0).all():
            break
    return factors


def _inputs(scores: FloatArray) -> FloatArray:
    inside = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.column_stack([np.log(inside), -np.log1p(-inside), np.ones(len(inside))])


def _shares(scores: FloatArray, factors: FloatArray) -> FloatArray:
    shares: FloatArray = 1 / (1 + np.exp(-(_inputs(scores) @ factors)))
    return shares


def _logistic_regression(inputs: FloatArray, targets: FloatArray) -> FloatArray:
    """(K,) factors of ``inputs`` (N, K) of the least cross-entropy to ``targets`` (N,), by Newton's steps, halved where
    they would make it larger."""
    factors = np.zeros(inputs.shape[1])
    loss = _cross_entropy(inputs @ factors, targets)
    for _ in range(100):
        shares = 1 / (1 + np.exp(-(inputs @ factors)))
        slope = inputs.T @ (shares - targets)
        curvature = (inputs * (shares * (1 - shares))[:, None]).T @ inputs
        step = np.linalg.lstsq(curvature, slope, rcond=None)[0]  # scores that are all alike tell no factors apart
        for halvings in range(30):
            tried = factors - step * 0.5**halvings
            after = _cross_entropy(inputs @ tried, targets)
            if after < loss:
                break
        else:
            break
        factors, loss = tried, after
    return factors


def _cross_entropy(logits: FloatArray, targets: FloatArray) -> float:
    return float(np.sum(np.logaddexp(0, logits) - targets * logits))


def _held_out(boxes: Judged) -> FloatArray | None:
    """(N,) expected shares of all boxes, each by a line fitted to other scenes than its own; None of one scene."""
    fold = np.unique(boxes.scene, return_inverse=True)[1] % FOLDS
    if fold.max(initial=0) == 0:
        return None
    shares = np.empty(len(boxes.scores))
    for one in range(int(fold.max()) + 1):
        own, others = fold == one, fold != one
        shares[own] = np.interp(boxes.scores[own], *fitted_line(boxes.scores[others], boxes.right[others]))
    return shares


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Boxes in BINS equal bins of what was expected of them, and what they were."""

    boxes: IntArray
    """(BINS,)"""
    expected: FloatArray
    """(BINS,) mean expected share; NaN in an empty bin."""
    right: FloatArray
    """(BINS,) share that is right; NaN in an empty bin."""
    error: float
    """Expected calibration error, NaN without boxes."""


def reliability(expected: FloatArray, right: BoolArray) -> Reliability:
    """The bins of :func:`calibration_error`; both (N,), N may be 0."""
    which = _bins(expected)
    boxes = np.bincount(which, minlength=BINS).astype(np.int64)
    with np.errstate(invalid="ignore"):
        means, shares = (np.bincount(which, values, BINS) / boxes for values in (expected, right.astype(np.float64)))
    return Reliability(boxes, means, shares, calibration_error(expected, right) if len(expected) else float("nan"))


def calibration_error(expected: FloatArray, right: BoolArray) -> float:
    """Expected calibration error (Naeini et al. 2015, Guo et al. 2017): over BINS equal bins of the expected share
    (N,), the distance between its mean and the share that is right (N,), weighted by boxes; N at least 1."""
    which = _bins(expected)
    expected_in, right_in = (np.bincount(which, values, BINS) for values in (expected, right.astype(np.float64)))
    return float(np.abs(expected_in - right_in).sum() / len(expected))


def _bins(expected: FloatArray) -> IntArray:
    return np.minimum((expected * BINS).astype(np.int64), BINS - 1)


def _rounded(value: float) -> float:
    return round(value, DIGITS)
