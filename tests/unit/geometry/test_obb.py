"""Oriented boxes: representations, frames, and the inputs that broke other people's rotated IoU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely

from pipeline.geometry.frames import (
    chip_to_lattice,
    lattice_to_chip,
    lattice_to_scene,
    near_inner_edge,
    scene_to_lattice,
)
from pipeline.geometry.obb import aabb_to_obb, canonical_obb, corners_to_obb, obb_to_aabb, obb_to_corners
from pipeline.geometry.overlap import intersection_area_pairs, rotated_iou_pairs
from pipeline.types import FloatArray, Lattice, Window


def boxes(*rows: tuple[float, ...]) -> FloatArray:
    return np.array(rows, np.float64).reshape(-1, 5)


def degrees(*row: float) -> tuple[float, ...]:
    return (*row[:4], math.radians(row[4]))


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


def test_corner_order_is_clockwise_on_screen() -> None:
    """Top left, top right, bottom right, bottom left at angle 0; a quarter turn clockwise moves each one on."""
    corners = obb_to_corners(boxes((10, 20, 6, 4, 0), (10, 20, 6, 4, math.pi / 2)))
    assert corners[0].tolist() == [[7, 18], [13, 18], [13, 22], [7, 22]]
    np.testing.assert_allclose(corners[1], [[12, 17], [12, 23], [8, 23], [8, 17]], atol=1e-12)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((1, 2, 3, 8, 0.0), (1, 2, 8, 3, -math.pi / 2)),
        ((1, 2, 8, 3, math.pi / 2), (1, 2, 8, 3, -math.pi / 2)),
        ((1, 2, 8, 3, math.pi), (1, 2, 8, 3, 0.0)),
        ((1, 2, 8, 3, -math.pi / 2 - 1e-17), (1, 2, 8, 3, -math.pi / 2)),
        ((1, 2, 8, 3, -2.0), (1, 2, 8, 3, math.pi - 2.0)),
        ((1, 2, 3, 8, 7.0), (1, 2, 8, 3, 7.0 - 1.5 * math.pi - math.pi)),
    ],
)
def test_canonical_boxes(row: tuple[float, ...], expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(canonical_obb(boxes(row))[0], expected, atol=1e-12)


def test_smallest_rectangle_of_quadrilaterals_is_shapelys() -> None:
    """Differential: areas of random quadrilaterals, convex or not, crossed or not, equal GEOS' rotating calipers."""
    corners = np.random.default_rng(1).uniform(-50, 50, (500, 4, 2))
    ours = corners_to_obb(corners)
    theirs = shapely.area(shapely.minimum_rotated_rectangle(shapely.multipoints(list(corners))))
    np.testing.assert_allclose(ours[:, 2] * ours[:, 3], theirs, rtol=1e-9)
    spread = shapely.buffer(shapely.polygons(obb_to_corners(ours)), 1e-6)
    assert shapely.covers(spread[:, None], shapely.points(corners)).all()


def test_quadrilaterals_without_area_become_lines_and_points() -> None:
    line = corners_to_obb(np.array([[[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]]))
    np.testing.assert_allclose(line, [[1.5, 2, 5, 0, math.atan2(4, 3)]], atol=1e-12)
    point = corners_to_obb(np.full((1, 4, 2), 7.0))
    assert point.tolist() == [[7, 7, 0, 0, 0]]


def test_bounds_of_a_turned_box() -> None:
    """A 20 × 10 box at 30°: half extents 10·cos + 5·sin and 10·sin + 5·cos."""
    half_x, half_y = 10 * math.cos(math.pi / 6) + 2.5, 5 + 5 * math.cos(math.pi / 6)
    expected = [100 - half_x, 50 - half_y, 100 + half_x, 50 + half_y]
    np.testing.assert_allclose(obb_to_aabb(boxes((100, 50, 20, 10, math.pi / 6)))[0], expected)
    tall = aabb_to_obb(np.array([[0.0, 0.0, 4.0, 10.0]]))
    np.testing.assert_allclose(tall, [[2, 5, 10, 4, -math.pi / 2]])
    np.testing.assert_allclose(obb_to_aabb(tall), [[0, 0, 4, 10]], atol=1e-12)


def test_frames() -> None:
    """Chip → lattice adds the window's corner; lattice → scene scales from the shared origin corner."""
    window, lattice = (
        Window(x=300, y=40, width=64, height=64),
        Lattice(width=500, height=400, scale_x=0.5, scale_y=0.25, gsd_m=20.0),
    )
    on_lattice = chip_to_lattice(boxes((10, 20, 6, 4, 0.1)), window)
    assert on_lattice.tolist() == [[310, 60, 6, 4, 0.1]]
    assert lattice_to_chip(on_lattice, window).tolist() == [[10, 20, 6, 4, 0.1]]
    in_scene = lattice_to_scene(np.array([[310.0, 60.0]]), lattice)
    assert in_scene.tolist() == [[155, 15]]
    assert scene_to_lattice(in_scene, lattice).tolist() == [[310, 60]]


class TestNearInnerEdge:
    """A 100 × 100 window in the middle, or at a corner, of a 1000 × 1000 lattice."""

    bounds = Window(x=0, y=0, width=1000, height=1000)

    @pytest.mark.parametrize(
        ("x", "y", "expected"),
        [
            (450, 450, False),
            (406.9, 450, True),  # the left end is at 401.9
            (407.1, 450, False),
            (493.1, 450, True),
            (492.9, 450, False),
            (450, 403.9, True),
            (450, 496.1, True),
            (395, 450, True),  # reaches out of the window
        ],
    )
    def test_two_pixels_from_a_side(self, x: float, y: float, expected: bool) -> None:
        window = Window(x=400, y=400, width=100, height=100)
        assert near_inner_edge(boxes((x, y, 10, 4, 0)), window, self.bounds).tolist() == [expected]

    def test_a_turned_box_counts_with_its_corners(self) -> None:
        window = Window(x=400, y=400, width=100, height=100)
        turned = boxes((406.9, 450, 10, 4, math.pi / 2), (450, 406.9, 10, 4, math.pi / 2))
        assert near_inner_edge(turned, window, self.bounds).tolist() == [False, True]

    def test_the_sides_of_the_lattice_cut_nothing(self) -> None:
        corner = Window(x=0, y=900, width=100, height=100)
        rows = boxes((2, 950, 10, 4, 0), (50, 999, 10, 4, 0), (99, 950, 10, 4, 0), (50, 901, 10, 4, 0))
        assert near_inner_edge(rows, corner, self.bounds).tolist() == [False, False, True, True]
        assert not near_inner_edge(rows, self.bounds, self.bounds).any()

    def test_the_margin_can_be_chosen(self) -> None:
        window = Window(x=400, y=400, width=100, height=100)
        assert near_inner_edge(boxes((415, 450, 10, 4, 0)), window, self.bounds, margin_px=20.0).tolist() == [True]
