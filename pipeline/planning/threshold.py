"""From which score on detections are reported, and what their scores are worth."""

from __future__ import annotations

from pipeline.config import DetectorConfig
from pipeline.errors import ConfigError
from pipeline.types import Calibration, ModelCard


def score_threshold(card: ModelCard, config: DetectorConfig) -> float:
    """The score that ``detector.score_threshold`` says, or ``detector.precision`` by the calibration, or the card.

    Raises ConfigError where a precision is asked for and the detector has no calibration, one that was measured with
    other looks, or one that never reaches it.
    """
    if config.score_threshold is not None:
        return config.score_threshold
    if config.precision is None:
        return card.score_threshold
    precision, calibration = float(config.precision), calibration_of(card, flips=config.flips)
    if calibration is None:
        raise ConfigError(f"detector.precision={precision:g} cannot be met: {_lacking(card)}")
    score = calibration.score_at(precision)
    if score is None:
        raise ConfigError(
            f"detector.precision={precision:g} cannot be met: by its calibration no box of {card.name} is right with "
            f"more than {calibration.precision[-1]:g}; ask for less"
        )
    return score


def calibration_of(card: ModelCard, *, flips: bool) -> Calibration | None:
    """The card's calibration, where it is of scores as they come out with, or without, mirrored looks."""
    calibration = card.calibration
    return calibration if calibration is not None and calibration.flips == flips else None


def _lacking(card: ModelCard) -> str:
    """Why there is no calibration, and what to do."""
    if card.calibration is not None:
        seen, now = ("with", "without") if card.calibration.flips else ("without", "with")
        return (
            f"the calibration of {card.name} was measured {seen} detector.flips, and scores {now} them are others; "
            "give detector.score_threshold, or calibrate it anew"
        )
    return (
        f"{card.name} has no calibration; give detector.score_threshold, or make one with evaluate_detector.py "
        "--calibrate on scenes that it was not trained on"
    )
