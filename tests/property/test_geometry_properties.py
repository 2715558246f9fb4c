"""Rotated IoU and the representations, for any boxes."""

from __future__ import annotations

import math

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry.obb import canonical_obb, corners_to_obb, obb_to_aabb, obb_to_corners
from pipeline.geometry.overlap import intersection_area_pairs, rotated_iou_pairs
from pipeline.types import FloatArray
from tests.support.strategies import numbers, obb_pairs, obbs

Pair = tuple[FloatArray, FloatArray]


def shapely_areas(a: FloatArray, b: FloatArray) -> FloatArray:
    """Areas in common by GEOS, with the coordinates moved to the first box, as GEOS does not do by itself."""
    origin = a * np.array([1, 1, 0, 0, 0])
    first, second = (shapely.polygons(obb_to_corners(box - origin)) for box in (a, b))
    return np.asarray(shapely.area(shapely.intersection(first, second)))


@given(obb_pairs())
@settings(max_examples=150)
def test_iou_is_symmetric_bit_for_bit_and_in_range(pair: Pair) -> None:
    a, b = pair
    iou = rotated_iou_pairs(a, b)
    assert iou.tolist() == rotated_iou_pairs(b, a).tolist()
    assert 0 <= iou[0] <= 1


@given(obb_pairs())
@settings(max_examples=150)
def test_intersection_equals_shapelys(pair: Pair) -> None:
    """Differential, nearly identical boxes and shared sides included."""
    a, b = pair
    np.testing.assert_allclose(intersection_area_pairs(a, b), shapely_areas(a, b), rtol=1e-9, atol=1e-9)


@given(obbs(max_size=1))
@settings(max_examples=50)
def test_a_box_has_iou_one_with_itself(box: FloatArray) -> None:
    assert rotated_iou_pairs(box, box).tolist() == [1]


@given(obb_pairs(), numbers(-5e6, 5e6), numbers(-5e6, 5e6))
@settings(max_examples=50)
def test_iou_does_not_change_when_both_are_moved(pair: Pair, dx: float, dy: float) -> None:
    """To UTM magnitudes; what remains is the rounding of the coordinates themselves (5e6 has steps of 1e-9)."""
    moved = [box + np.array([dx, dy, 0, 0, 0]) for box in pair]
    np.testing.assert_allclose(rotated_iou_pairs(*moved), rotated_iou_pairs(*pair), atol=1e-8)


@given(obb_pairs(), numbers(-4, 4))
@settings(max_examples=50)
def test_iou_does_not_change_when_both_are_turned(pair: Pair, angle: float) -> None:
    cos, sin = math.cos(angle), math.sin(angle)
    turned = []
    for box in pair:
        x, y, w, h, theta = box[0]
        turned.append(canonical_obb(np.array([[x * cos - y * sin, x * sin + y * cos, w, h, theta + angle]])))
    np.testing.assert_allclose(rotated_iou_pairs(*turned), rotated_iou_pairs(*pair), atol=1e-10)


@given(obb_pairs())
@settings(max_examples=50)
def test_iou_does_not_change_in_a_mirror(pair: Pair) -> None:
    mirrored = [canonical_obb(box * np.array([-1, 1, 1, 1, -1])) for box in pair]
    np.testing.assert_allclose(rotated_iou_pairs(*mirrored), rotated_iou_pairs(*pair), atol=1e-12)


@given(obb_pairs(), st.floats(1e-3, 1e3))
@settings(max_examples=50)
def test_iou_does_not_change_with_the_scale(pair: Pair, scale: float) -> None:
    scaled = [box * np.array([scale, scale, scale, scale, 1]) for box in pair]
    np.testing.assert_allclose(rotated_iou_pairs(*scaled), rotated_iou_pairs(*pair), atol=1e-11)


def test_iou_is_the_share_of_random_points_in_both() -> None:
    """Independent of any polygon code: 20,000 points in each of 200 pairs, within five standard errors."""
    generator = np.random.default_rng(5)
    n, points = 200, 20000
    a = np.column_stack(
        [generator.uniform(-8, 8, (n, 2)), generator.uniform(4, 30, (n, 2)), generator.uniform(-2, 2, n)]
    )
    b = np.column_stack(
        [generator.uniform(-8, 8, (n, 2)), generator.uniform(4, 30, (n, 2)), generator.uniform(-2, 2, n)]
    )
    seen = generator.uniform(-0.5, 0.5, (n, points, 2)) * a[:, None, 2:4]
    cos, sin = np.cos(a[:, 4, None]), np.sin(a[:, 4, None])
    x = seen[..., 0] * cos - seen[..., 1] * sin + a[:, 0, None] - b[:, 0, None]
    y = seen[..., 0] * sin + seen[..., 1] * cos + a[:, 1, None] - b[:, 1, None]
    cos, sin = np.cos(b[:, 4, None]), np.sin(b[:, 4, None])
    inside = (np.abs(x * cos + y * sin) < b[:, 2, None] / 2) & (np.abs(y * cos - x * sin) < b[:, 3, None] / 2)
    share = intersection_area_pairs(a, b) / (a[:, 2] * a[:, 3])
    error = np.sqrt(np.maximum(share * (1 - share), 1e-4) / points)
    assert (np.abs(inside.mean(axis=1) - share) < 5 * error).all()


@given(obbs())
@settings(max_examples=50)
def test_canonical_boxes_are_the_same_rectangles(boxes: FloatArray) -> None:
    """Any way to write a box (sides swapped, half turns) gives the same corners, and the canonical form is stable."""
    assert (boxes[:, 2] >= boxes[:, 3]).all()
    assert ((boxes[:, 4] >= -np.pi / 2) & (boxes[:, 4] < np.pi / 2)).all()
    swapped = canonical_obb(boxes[:, [0, 1, 3, 2, 4]] + np.array([0, 0, 0, 0, np.pi / 2 - 3 * np.pi]))
    assert (rotated_iou_pairs(swapped, boxes) > 1 - 1e-9).all()
    again = canonical_obb(boxes)
    assert np.array_equal(again[:, :4], boxes[:, :4])
    np.testing.assert_allclose(again[:, 4], boxes[:, 4], atol=1e-15)


@given(obbs(), st.integers(0, 3), st.booleans())
@settings(max_examples=50)
def test_corners_and_boxes_are_inverse(boxes: FloatArray, start: int, backwards: bool) -> None:
    """Whichever corner comes first and whichever way round they go."""
    corners = np.roll(obb_to_corners(boxes), start, axis=1)
    back = corners_to_obb(corners[:, ::-1] if backwards else corners)
    assert (rotated_iou_pairs(back, boxes) > 1 - 1e-9).all()


@given(obbs())
@settings(max_examples=50)
def test_bounds_hold_the_corners_tightly(boxes: FloatArray) -> None:
    corners, bounds = obb_to_corners(boxes), obb_to_aabb(boxes)
    np.testing.assert_allclose(bounds[:, :2], corners.min(axis=1), atol=1e-9)
    np.testing.assert_allclose(bounds[:, 2:], corners.max(axis=1), atol=1e-9)


@given(obbs())
@settings(max_examples=50)
def test_corners_go_clockwise_on_screen(boxes: FloatArray) -> None:
    """The shoelace sum is positive when y points down."""
    corners = obb_to_corners(boxes) - boxes[:, None, :2]
    following = np.roll(corners, -1, axis=1)
    twice = (corners[..., 0] * following[..., 1] - corners[..., 1] * following[..., 0]).sum(axis=1)
    np.testing.assert_allclose(twice / 2, boxes[:, 2] * boxes[:, 3], rtol=1e-9)
