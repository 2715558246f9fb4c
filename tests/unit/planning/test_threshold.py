"""From which score on a run reports: said as a score, as a precision, or not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import DetectorConfig
from pipeline.errors import ConfigError
from pipeline.planning.threshold import calibration_of, score_threshold
from pipeline.types import Calibration
from tests.support.pinned import CARD

LINE = Calibration(
    method="isotonic", scores=(0.2, 0.6), precision=(0.1, 0.9), boxes=100, iou=0.5, scenes=("a", "b"), ece_before=0.2,
    ece_after=0.1,
)  # fmt: skip
CALIBRATED = replace(CARD, calibration=LINE)


def test_a_score_wins_over_the_card_and_the_card_speaks_where_nothing_is_said() -> None:
    assert score_threshold(CALIBRATED, DetectorConfig(score_threshold=0.7)) == 0.7
    assert score_threshold(CALIBRATED, DetectorConfig()) == CARD.score_threshold


def test_a_precision_picks_the_score_from_which_single_boxes_reach_it() -> None:
    score = score_threshold(CALIBRATED, DetectorConfig(precision=0.8))
    assert score == pytest.approx(0.55)
    assert LINE.expected(np.array([score]))[0] >= 0.8


@pytest.mark.parametrize(
    ("card", "flips", "said"),
    [
        (CARD, False, "pinned has no calibration; give detector.score_threshold, or make one"),
        (replace(CARD, calibration=replace(LINE, precision=(0.1, 0.6))), False, "is right with more than 0.6"),
        (CALIBRATED, True, "measured without detector.flips, and scores with them are others"),
        (replace(CARD, calibration=replace(LINE, flips=True)), False, "measured with detector.flips"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_met_one_sentence_says_why(card, flips: bool, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as caught:
        score_threshold(card, DetectorConfig(precision=0.8, flips=flips))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_calibration_is_of_scores_as_they_were_measured() -> None:
    assert calibration_of(CALIBRATED, flips=False) == LINE
    assert calibration_of(CALIBRATED, flips=True) is None
    assert calibration_of(CARD, flips=False) is None
