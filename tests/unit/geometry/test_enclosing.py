"""Polygons as boxes: the smallest around one, and several that cover it."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry.enclosing import CLOSE, covering_boxes, enclosing_box
from pipeline.geometry.obb import corners_to_obb, obb_to_corners


@given(
    st.lists(st.tuples(*[st.floats(-50, 50)] * 2), min_size=4, max_size=4),
    st.floats(-1e6, 1e6),
)
def test_of_four_points_it_is_what_corners_give(points: list[tuple[float, float]], far: float) -> None:
    corners = np.array(points) + far
    ours, theirs = enclosing_box(corners), corners_to_obb(corners[None])
    assert ours[0, 2] * ours[0, 3] == pytest.approx(theirs[0, 2] * theirs[0, 3], abs=1e-5)


def test_an_outline_gets_the_turned_rectangle_around_it() -> None:
    """An ellipse of many corners, turned by 0.4."""
    around = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    x, y = 30 * np.cos(around), 8 * np.sin(around)
    turned = np.column_stack([x * np.cos(0.4) - y * np.sin(0.4), x * np.sin(0.4) + y * np.cos(0.4)])
    points = turned + np.array([5e5, 4e6])
    np.testing.assert_allclose(enclosing_box(points)[0], [5e5, 4e6, 60, 16, 0.4], rtol=0, atol=5e-3)


def test_a_rectangle_is_covered_by_itself() -> None:
    box = np.array([[50.0, 40, 30, 10, 0.3]])
    cover = covering_boxes(shapely.Polygon(obb_to_corners(box)[0]), smallest=4.0)
    np.testing.assert_allclose(cover, box, atol=1e-9)


@pytest.mark.parametrize(
    "polygon",
    [
        shapely.Polygon([(0, 0), (200, 0), (200, 20), (20, 20), (20, 200), (0, 200)]),
        shapely.Point(0, 0).buffer(100),
        shapely.Polygon([(0, 0), (100, 100), (100, 0), (0, 100)]),
    ],
    ids=["an L", "a disc", "a ring that crosses itself"],
)
def test_other_shapes_are_covered_closely_and_wholly(polygon: shapely.Polygon) -> None:
    """An L in one box would be mostly outside it."""
    valid = shapely.make_valid(polygon)
    boxes = covering_boxes(polygon, smallest=8.0)
    cover = shapely.union_all(shapely.polygons(obb_to_corners(boxes)))
    assert shapely.difference(valid, cover).area < 1e-6 * valid.area
    assert cover.area < valid.area / (CLOSE - 0.05)
    assert len(boxes) < 80
