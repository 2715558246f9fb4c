"""The numbers behind the report: curves against pycocotools, bands, bins, the worst of each kind."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.calibration import calibration_error
from pipeline.evaluation.coco_metrics import horizontal_metrics
from pipeline.evaluation.errors.analysis import analyse
from pipeline.evaluation.errors.kinds import Kind, judge
from pipeline.evaluation.errors.shares import Band, octaves, recall_in_bands
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.report import figures
from pipeline.geometry.obb import canonical_obb
from pipeline.types import Detections
from tests.support.judging import found, noisy, ship, truth


def level(one: Detections, *, seed: int) -> Detections:
    """Detections with sides along the axes, a little moved."""
    boxes = one.boxes.copy()
    boxes[:, 4] = 0
    boxes[:, :2] += np.random.default_rng(seed).normal(0, 1, (len(one), 2))
    return found(canonical_obb(boxes), one.scores.tolist(), one.class_ids.tolist())


def test_the_curves_are_those_of_pycocotools() -> None:
    """Of horizontal boxes: precision at COCO's 101 recalls, mean over the classes, is its AP50."""
    generator = np.random.default_rng(3)
    pairs = [noisy(generator, 30) for _ in range(3)]
    objects = [truth(canonical_obb(one.boxes * [1, 1, 1, 1, 0]), one.class_ids, one.ignore) for _, one in pairs]
    detections = [level(one, seed=seed) for seed, (one, _) in enumerate(pairs)]
    names = [str(number) for number in range(3)]
    judged = Judged(
        detector="d", data="t", classes=("a", "b"), found=dict(zip(names, detections, strict=True)),
        truth=dict(zip(names, objects, strict=True)), score_threshold=0.5,
    )  # fmt: skip
    sampled = []
    for one in analyse(judged).curves:
        reached = np.searchsorted(one.recall, np.linspace(0, 1, 101))
        sampled.append(np.append(one.precision, 0)[reached].mean())
    theirs = horizontal_metrics(detections, objects, class_count=2)["ap50"]
    assert 0.2 < theirs < 0.95, "neither everything nor nothing is right, or nothing is tested"
    assert np.mean(sampled) == pytest.approx(theirs, abs=1e-9)


def test_the_interval_of_the_only_class_is_that_of_all() -> None:
    generator = np.random.default_rng(4)
    scenes = {str(number): noisy(generator) for number in range(60)}
    objects = {name: truth(one.boxes, None, one.ignore) for name, (_, one) in scenes.items()}
    detections = {name: found(one.boxes, one.scores.tolist()) for name, (one, _) in scenes.items()}
    judged = Judged(detector="d", data="t", classes=("a",), found=detections, truth=objects, score_threshold=0.5)
    (curve,) = analyse(judged).curves
    assert curve.interval == pytest.approx(
        figures(detections, objects, classes=("a",), score_threshold=0.5)["ap50_interval"], abs=1e-4
    )
    assert curve.interval[1] - curve.interval[0] > 0.01


def test_recall_is_shared_out_by_number() -> None:
    """Ships at 0 and 100 are found, the one at 200 is not; the one at 300 is not judged."""
    objects = truth([ship(x) for x in (0, 100, 200, 300)], ignore=[False, False, False, True])
    judgement = judge([found([ship(0), ship(100)], [0.9, 0.4])], [objects])
    numbers = np.array([1.0, 5.0, 5.0, 5.0])
    bands = recall_in_bands(judgement, numbers, (0, 2, 4, np.inf), 0.1)
    assert [(one.objects, one.found) for one in bands] == [(1, 1), (2, 1)]
    assert [one.found for one in recall_in_bands(judgement, numbers, (0, 2, 4, np.inf), 0.5)] == [1, 0]
    # Wilson's interval of 81 in 263 (Newcombe 1998, table I, method 3): 0.2553 to 0.3662
    assert Band(low=0, high=1, objects=263, found=81).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_octaves_hold_every_number() -> None:
    numbers = np.array([3.0, 8.0, 40.0])
    assert octaves(numbers) == (2, 4, 8, 16, 32, 64)
    wide = octaves(np.array([0.01, 5000.0]))
    assert (wide[0], wide[-1]) == (0, 8192), "the lowest band is open where there would be too many"
    assert octaves(np.array([8.0])) == (8, 16)
    assert octaves(np.zeros(0)) == ()


def test_bins_of_scores_are_those_of_the_calibration_error() -> None:
    objects = truth([ship(0), ship(100)])
    detections = found([ship(0), ship(300), ship(100), ship(400)], [0.95, 0.91, 0.15, 0.11])
    judged = Judged(detector="d", data="t", classes=("ship",), found={"a": detections}, truth={"a": objects},
                    score_threshold=0.5)  # fmt: skip
    bins = analyse(judged).reliability
    assert bins.boxes.tolist() == [0, 2] + [0] * 7 + [2]
    assert bins.expected[9] == pytest.approx(0.93)
    assert bins.right[[1, 9]].tolist() == [0.5, 0.5]
    assert bins.error == pytest.approx(0.5 * 0.43 + 0.5 * 0.37)
    assert bins.error == pytest.approx(calibration_error(detections.scores, np.array([True, False, True, False])))


def test_what_a_calibration_promises_is_judged_beside_the_scores() -> None:
    """Of scores of 0.2 none is right and of 0.8 all are; a line that says so errs by nothing."""
    objects = truth([ship(100.0 * one) for one in range(4)])
    right, wrong = [ship(100.0 * one) for one in range(4)], [ship(1000 + 100.0 * one) for one in range(4)]
    judged = Judged(
        detector="d", data="t", classes=("ship",), found={"a": found(right + wrong, [0.8] * 4 + [0.2] * 4)},
        truth={"a": objects}, score_threshold=0.5, calibrated=(np.array([0.2, 0.8]), np.array([0.0, 1.0])),
    )  # fmt: skip
    analysis = analyse(judged)
    assert analysis.reliability.error == pytest.approx(0.2)
    assert analysis.calibrated is not None
    assert analysis.calibrated.error == 0


def test_the_worst_are_those_of_the_highest_score_and_the_largest() -> None:
    small, large = [500.0, 10.0, 8.0, 4.0, 0.0], [600.0, 10.0, 40.0, 10.0, 0.0]
    detections = found([ship(x) for x in range(1000, 1400, 20)], np.linspace(0.05, 0.95, 20).tolist())
    judged = Judged(detector="d", data="t", classes=("ship",), found={"a": detections},
                    truth={"a": truth([small, large])}, score_threshold=0.5)  # fmt: skip
    analysis = analyse(judged)
    assert [one.annotation for one in analysis.worst[Kind.MISSED]] == [1, 0]
    assert [one.detection for one in analysis.worst[Kind.BACKGROUND]] == [19, 18, 17, 16, 15, 14, 13, 12]
    assert analysis.counts[Kind.BACKGROUND] == 10
    assert analysis.counts_of_all[Kind.BACKGROUND] == 20
    assert analysis.by_seam is None, "nobody said where the tiles are"
