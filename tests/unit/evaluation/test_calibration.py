"""Calibration: a score becomes the share of boxes that are right, and the error is measured on scenes left out."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.annotations.annotations import EVERY_CLASS, Annotations
from pipeline.evaluation.calibration import (
    FEWEST_BOXES,
    calibrate,
    calibration_error,
    fitted_line,
    judged_boxes,
)
from pipeline.types import BoolArray, Calibration, Detections, FloatArray, Frame
from tests.support.judging import found, ship, truth

NAMES = ("a", "b", "c", "d")


def sample(count: int, seed: int, share: object) -> tuple[FloatArray, BoolArray]:
    """Scores, and whether each box is right, by chance with the probability ``share(score)``."""
    generator = np.random.default_rng(seed)
    scores = generator.uniform(0.02, 0.9, count)
    return scores, generator.uniform(size=count) < share(scores)  # type: ignore[operator]


def scene(scores: FloatArray, right: BoolArray) -> tuple[Detections, Annotations]:
    """Boxes far apart, of which those that are right lie on an object."""
    boxes = [ship(100.0 * (1 + place)) for place in range(len(scores))]
    return found(boxes, scores.tolist()), truth([box for box, ok in zip(boxes, right, strict=True) if ok])


def fold(seed: int, count: int = 150, share: object = lambda s: s**3) -> tuple[list[Detections], list[Annotations]]:
    """Four scenes of a detector whose boxes of score s are right with that share."""
    pairs = [scene(*sample(count, 10 * seed + number, share)) for number in range(4)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@pytest.mark.parametrize("share", [lambda s: s**3, lambda s: s, lambda s: 1 - (1 - s) ** 3, lambda s: 0.3 + 0 * s])
def test_the_line_is_the_share_that_made_the_boxes(share) -> None:  # type: ignore[no-untyped-def]
    scores, right = sample(20_000, 1, share)
    points, shares = fitted_line(scores, right)
    at = np.linspace(0.05, 0.85, 20)
    np.testing.assert_allclose(np.interp(at, points, shares), share(at), atol=0.03)


def test_the_line_never_falls_even_where_better_scores_are_worse() -> None:
    """A detector that is wrong the surer it is: the best of lines that do not fall is level."""
    scores, right = sample(2_000, 2, lambda s: 1 - s)
    points, shares = fitted_line(scores, right)
    assert (np.diff(points) > 0).all()
    assert (np.diff(shares) >= 0).all()
    np.testing.assert_allclose(shares[1:], right.mean(), atol=0.01)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_is_no_certainty(right: bool) -> None:
    scores = np.linspace(0.1, 0.9, 60)
    _, shares = fitted_line(scores, np.full(60, right))
    assert ((shares[1:] > 0) & (shares < 1)[1:]).all()
    assert abs(shares[1:].mean() - right) < 0.03


def test_below_the_lowest_score_that_was_seen_nothing_is_promised() -> None:
    """Results that were cut at a score say nothing of boxes below it."""
    scores = np.linspace(0.5, 0.9, 100)
    points, shares = fitted_line(scores, scores > 0.6)
    assert (points[0], shares[0]) == (0.0, 0.0)
    assert points[1] == 0.5


@pytest.mark.parametrize("score", [0.0, 0.4, 1.0])
def test_boxes_of_one_score_are_one_share(score: float) -> None:
    right = np.arange(100) < 25
    points, shares = fitted_line(np.full(100, score), right)
    assert (np.diff(points) > 0).all()
    np.testing.assert_allclose(np.interp(score, points, shares), 0.25, atol=0.02)


def test_perfectly_told_apart_boxes_do_not_blow_up() -> None:
    scores = np.concatenate([np.linspace(0.05, 0.3, 50), np.linspace(0.7, 0.95, 50)])
    points, shares = fitted_line(scores, scores > 0.5)
    assert np.isfinite(shares).all()
    assert np.interp(0.1, points, shares) < 0.05
    assert np.interp(0.9, points, shares) > 0.95


def test_the_error_before_is_what_the_scores_claim_and_after_is_measured_on_scenes_left_out() -> None:
    detections, annotations = fold(1, count=800)
    made = calibrate(NAMES, detections, annotations)
    assert isinstance(made, Calibration)
    assert made.boxes == 3200
    assert made.scenes == NAMES
    assert made.iou == 0.5
    # Scores are uniform on [0.02, 0.9], and s - s³ is on average 0.274 there.
    assert made.ece_before == pytest.approx(0.274, abs=0.02)
    assert made.ece_after is not None
    assert made.ece_after < 0.03
    inside = np.interp(judged_boxes(detections, annotations).scores, made.scores, made.precision)
    assert made.ece_after > 0.5 * calibration_error(inside, judged_boxes(detections, annotations).right)


def test_a_scene_unlike_the_others_shows_in_the_error_after() -> None:
    """As it would not if the line were judged on the boxes it was fitted to."""
    detections, annotations = fold(2, count=400)
    none = Annotations(np.zeros((0, 5)), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    alike, unlike = (calibrate(NAMES, detections, [*annotations[:3], last]) for last in (annotations[3], none))
    assert alike is not None
    assert unlike is not None
    assert alike.ece_after is not None
    assert unlike.ece_after is not None
    boxes = judged_boxes(detections, [*annotations[:3], none])
    fitted_to_all = calibration_error(unlike.expected(boxes.scores), boxes.right)
    assert unlike.ece_after > 1.5 * max(alike.ece_after, fitted_to_all)


def test_one_scene_tells_nothing_of_others() -> None:
    made = calibrate(("a",), *([one[0]] for one in fold(3)))
    assert made is not None
    assert made.ece_after is None


def test_too_few_boxes_make_no_calibration() -> None:
    detections, annotations = (one[:2] for one in fold(4, count=FEWEST_BOXES // 2))
    assert calibrate(("a", "b"), detections, annotations) is not None
    detections = [detections[0], detections[1][1:]]
    assert calibrate(("a", "b"), detections, annotations) is None
    assert calibrate((), [], []) is None


def test_what_an_ignore_region_excuses_is_not_counted_and_a_second_box_is_wrong() -> None:
    detections = found([ship(100.0), ship(100.5), ship(300.0), ship(500.0)], [0.9, 0.8, 0.7, 0.6])
    known = truth([ship(100.0), ship(300.0)], [0, EVERY_CLASS], [False, True])
    boxes = judged_boxes([detections[3:], detections[:3]], [truth([]), known])
    assert sorted(zip(boxes.scores.tolist(), boxes.right.tolist(), boxes.scene.tolist(), strict=True)) == [
        (0.6, False, 0), (0.8, False, 1), (0.9, True, 1)]  # fmt: skip


def test_the_error_is_the_weighted_distance_in_ten_bins() -> None:
    """Two bins: three boxes of 0.95 of which two are right, one of 0.15 that is wrong. And 1 has a bin."""
    expected, right = np.array([0.95, 0.95, 0.95, 0.15]), np.array([True, True, False, False])
    assert calibration_error(expected, right) == pytest.approx((abs(2.85 - 2) + abs(0.15)) / 4)
    assert calibration_error(np.ones(2), np.array([True, False])) == pytest.approx(0.5)


def test_mirrored_looks_are_told() -> None:
    made = calibrate(NAMES, *fold(5), flips=True)
    assert made is not None
    assert made.flips


def test_frames_and_classes_do_not_matter_here() -> None:
    """All classes share one line: what is right in one class counts as much as in another."""
    detections, annotations = fold(6)
    halves = [Detections(d.boxes, d.scores, np.arange(len(d)) % 2, Frame.SCENE) for d in detections]
    known = [truth(a.boxes, [0] * len(a)) for a in annotations]
    made = calibrate(NAMES, halves, known)
    assert made is not None
    assert made.boxes == sum(map(len, detections))
