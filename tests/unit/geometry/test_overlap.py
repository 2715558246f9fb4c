"""Overlap of oriented boxes, and the inputs that broke other people's rotated IoU."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.geometry.obb import canonical_obb, corners_to_obb, obb_to_aabb, obb_to_corners
from pipeline.geometry.overlap import intersection_area_pairs, rotated_iou_pairs
from tests.support.boxes import boxes, degrees

BUG_REPORTS = {
    # name: box, box, IoU. The wrong answers were 0.600, 0.585, 0.333, 0.333 and -1.2e7.
    "detectron2#2154": (
        degrees(296.6620178222656, 458.73883056640625, 23.515729904174805, 47.677001953125, 0.08795166015625),
        degrees(296.66201, 458.73882, 23.51573, 47.67702, 0.087951),
        0.999999,
    ),
    "detectron2#2167": (
        degrees(2563.74462890625, 1436.7901611328125, 2174.703369140625, 214.09500122070312, 115.11834716796875),
        degrees(2563.74462890625, 1436.790283203125, 2174.702880859375, 214.0949554443359375, 115.11835479736328),
        0.999999,
    ),
    "detectron2#1207": (degrees(160, 153, 230, 23, -37), degrees(190, 127, 80, 21, -46), 0.265493),
    "detectron2#1207, turned the other way": (degrees(160, 153, 230, 23, 37), degrees(190, 127, 80, 21, 46), 0.0),
    "mmcv#2621": (
        (0.0, 0.0, 180.6422271729, 136.3633728027, 0.9559648633),
        (0.0, 0.0, 180.6422271729, 136.3633728027, 0.9559648633),
        1.0,
    ),
    "rotated_maskrcnn#46": (
        degrees(672.4067, 290.7776, 791.0275, 38.9333, 34.1454),
        degrees(672.4067, 290.7776, 791.0275, 38.9333, 34.1454),
        1.0,
    ),
    "mmcv#2952": ((135.07, 406.72, 7.9445e-7, 1971.1, 1.7708), (151.008, 436.2173, 302.0159, 313.7347, 3.1184), 0.0),
    "detectron2#4961": (
        degrees(1010.5, 860.00012207, 12.20655537, 48.82622528, 55.00798035),
        degrees(1022, 870.49993896, 10.81665134, 43.26660919, 56.30992889),
        0.0,
    ),
    "UTM magnitudes": (
        (500123.4, 5600123.4, 3.1, 1.9, 0.0),
        (500123.5, 5600123.4 + 0.045, 3.1, 1.9, 0.0),
        (3.0 * 1.855) / (2 * 3.1 * 1.9 - 3.0 * 1.855),
    ),
}


@pytest.mark.parametrize("name", BUG_REPORTS)
def test_published_wrong_answers_are_right(name: str) -> None:
    a, b, expected = BUG_REPORTS[name]
    assert rotated_iou_pairs(boxes(a), boxes(b))[0] == pytest.approx(expected, abs=1e-6)
    assert rotated_iou_pairs(boxes(b), boxes(a))[0] == pytest.approx(expected, abs=1e-6)


def test_utm_magnitudes_lose_nothing() -> None:
    """A 3.1 m × 1.9 m box at any angle against itself moved by 0.1 m: as at the origin, to the coordinates' own ulp.

    Along the length the answer is 3.0 / 3.2 and across 1.8 / 2.0; float32 is off in the second decimal.
    """
    angle = np.radians(np.arange(180))
    here = np.column_stack([np.zeros((180, 2)), np.full(180, 3.1), np.full(180, 1.9), angle])
    there = here + np.array([500123.4, 5600123.4, 0, 0, 0])
    shift = np.column_stack([0.1 * np.cos(angle), 0.1 * np.sin(angle), np.zeros((180, 3))])
    np.testing.assert_allclose(rotated_iou_pairs(there, there + shift), 3.0 / 3.2, atol=2e-9)
    across = shift[:, [1, 0, 2, 3, 4]] * np.array([-1, 1, 1, 1, 1])
    np.testing.assert_allclose(rotated_iou_pairs(there, there + across), 1.8 / 2.0, atol=2e-9)


def test_a_box_equals_itself_exactly_at_every_angle() -> None:
    """1,000 random boxes of all magnitudes: exactly 1.0, and 1 - 1e-12 in the other ways to write the same box."""
    generator = np.random.default_rng(0)
    length = 10 ** generator.uniform(-3, 6, 1000)
    shape = np.column_stack([length, length / generator.uniform(1, 20, 1000), generator.uniform(-1.5, 1.5, 1000)])
    b = np.column_stack([generator.normal(0, 1e6, (1000, 2)), shape])
    assert (rotated_iou_pairs(b, b) == 1).all()
    half_turn = np.array([0, 0, 0, 0, np.pi])
    for other in (b[:, [0, 1, 3, 2, 4]] + half_turn / 2, b + half_turn, b - half_turn):
        assert rotated_iou_pairs(b, other).min() > 1 - 1e-12


def test_degenerate_boxes_share_nothing() -> None:
    """Points and lines have no area: IoU 0, also with themselves; sides that touch share nothing."""
    square = (0.0, 0.0, 4.0, 4.0, 0.3)
    for flat in ((0.0, 0.0, 5.0, 0.0, 0.3), (0.0, 0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1e-300, 1e-300, 1.0)):
        assert rotated_iou_pairs(boxes(flat, flat), boxes(flat, square)).tolist() == [0, 0]
    beside = (4 * math.cos(0.3), 4 * math.sin(0.3), 4.0, 4.0, 0.3)
    assert rotated_iou_pairs(boxes(square), boxes(beside))[0] == pytest.approx(0, abs=1e-15)


def test_a_small_box_inside_a_large_one() -> None:
    a, b = boxes((0, 0, 1000, 800, 0.7)), boxes((50, -30, 5, 3, -1.1))
    assert intersection_area_pairs(a, b)[0] == pytest.approx(15, rel=1e-12)
    assert rotated_iou_pairs(a, b)[0] == pytest.approx(15 / 800000, rel=1e-12)


def test_empty_input_gives_empty_output() -> None:
    none = np.zeros((0, 5))
    assert rotated_iou_pairs(none, none).shape == (0,)
    assert canonical_obb(none).shape == (0, 5)
    assert obb_to_corners(none).shape == (0, 4, 2)
    assert corners_to_obb(np.zeros((0, 4, 2))).shape == (0, 5)
    assert obb_to_aabb(none).shape == (0, 4)


@pytest.mark.parametrize("row", [(0, 0, -1, 1, 0), (0, 0, 1, 1, math.nan), (math.inf, 0, 1, 1, 0)])
def test_boxes_that_make_no_sense_are_refused(row: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="finite with width and height >= 0"):
        rotated_iou_pairs(boxes(row), boxes((0, 0, 1, 1, 0)))


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        rotated_iou_pairs(np.ones((2, 5)), np.ones((1, 5)))
