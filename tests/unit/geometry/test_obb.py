"""Oriented boxes: their representations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely

from pipeline.geometry.obb import aabb_to_obb, canonical_obb, corners_to_obb, obb_to_aabb, obb_to_corners
from tests.support.boxes import boxes


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
