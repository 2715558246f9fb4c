"""A calibration: from a score to a share of right boxes, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.types import Calibration

SHARES = st.floats(0, 1, allow_nan=False, width=16)


def line(scores: list[float], shares: list[float]) -> Calibration:
    return Calibration(
        method="isotonic", scores=tuple(scores), precision=tuple(shares), boxes=100, iou=0.5, scenes=("a",),
        ece_before=0.1, ece_after=None,
    )  # fmt: skip


def test_it_is_straight_between_points_and_level_beyond() -> None:
    some = line([0.2, 0.6], [0.1, 0.9])
    np.testing.assert_allclose(some.expected(np.array([0.0, 0.2, 0.4, 0.6, 1.0])), [0.1, 0.1, 0.5, 0.9, 0.9])
    assert some.expected(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(("wanted", "score"), [(0.05, 0.0), (0.1, 0.0), (0.5, 0.4), (0.9, 0.6)])
def test_the_score_of_a_precision_is_the_lowest_that_has_it(wanted: float, score: float) -> None:
    assert line([0.2, 0.6], [0.1, 0.9]).score_at(wanted) == pytest.approx(score)


def test_a_precision_that_no_score_has_gets_none() -> None:
    assert line([0.2, 0.6], [0.1, 0.9]).score_at(0.91) is None


def test_on_a_level_stretch_it_is_the_lower_end() -> None:
    some = line([0.2, 0.4, 0.8, 0.9], [0.1, 0.5, 0.5, 1.0])
    assert some.score_at(0.5) == pytest.approx(0.4)


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=6, unique_by=lambda one: one[0]), SHARES)
def test_a_box_of_that_score_is_expected_to_be_right_as_often_as_was_asked_and_one_below_less(
    points: list[tuple[float, float]], wanted: float
) -> None:
    some = line(sorted(score for score, _ in points), sorted(share for _, share in points))
    score = some.score_at(wanted)
    if score is None:
        assert wanted > max(some.precision)
        return
    assert some.expected(np.array([score]))[0] >= wanted
    if score > 0:
        below = score - 1e-6 * max(score, 1e-3)
        assert some.expected(np.array([below]))[0] <= wanted
