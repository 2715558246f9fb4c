"""Which detection finds which object."""

from __future__ import annotations

from pipeline.annotations.annotations import EVERY_CLASS
from pipeline.evaluation.average_precision import (
    operating_point,
)
from pipeline.evaluation.matching import match_classes
from tests.support.judging import found, ship, truth


def test_an_object_found_twice_is_right_once() -> None:
    matches = match_classes([found([ship(0), ship(0.5)], [0.5, 0.9])], [truth([ship(0)])], (0.5,))[0]
    assert matches.scores.tolist() == [0.9, 0.5]
    assert matches.verdict.tolist() == [[1, 0]]


def test_ignore_regions_are_neither_right_nor_wrong() -> None:
    """Any number of detections inside a region are excused, of any class when the region says so; outside, wrong."""
    region = [300.0, 10.0, 100.0, 100.0, 0.0]
    detections = found([ship(0), ship(290), ship(320), ship(600)], [0.4, 0.9, 0.8, 0.3], [0, 0, 1, 0])
    for region_class, wrong in ((EVERY_CLASS, 1), (0, 2)):
        annotations = truth([ship(0), region], [0, region_class], [False, True])
        point = operating_point(list(match_classes([detections], [annotations], (0.5,)).values()), 0.0)
        assert (point.right, point.wrong, point.missed) == (1, wrong, 0)
