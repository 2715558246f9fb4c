"""Distances from points to the sides of turned boxes, there and back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detectors.oriented_fcos.points import boxes_from, centreness, distances_to, turned
from pipeline.detectors.torch_boxes import corners

Number = st.floats(0, 1000, width=32)
Side = st.floats(1, 500, width=32)
Angle = st.floats(-math.pi, math.pi)
Box = st.tuples(Number, Number, Side, Side, Angle)
Point = st.tuples(Number, Number)


def double(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_distances_of_a_box_that_points_down() -> None:
    """40 long, pointing down the screen: its left is above, and its top is to the right (y down)."""
    (found,) = distances_to(double((53, 45)), double((50, 50, 40, 10, math.pi / 2)))
    assert found.tolist() == pytest.approx([15, 2, 25, 8])


@given(point=Point, box=Box)
def test_what_is_encoded_is_decoded(point: tuple[float, float], box: tuple[float, ...]) -> None:
    """Inside or outside, whatever way the rectangle is written."""
    boxes = double(box)
    again = boxes_from(double(point), distances_to(double(point), boxes), boxes[:, 4])
    torch.testing.assert_close(again, boxes, atol=1e-9, rtol=1e-12)


@given(point=Point, box=Box)
def test_a_point_is_inside_where_all_four_are_positive(point: tuple[float, float], box: tuple[float, ...]) -> None:
    """Against the signs of cross products with the edges, which know no axes."""
    around = corners(double(box))[0]
    edges = around.roll(-1, 0) - around
    to_point = double(point) - around
    cross = edges[:, 0] * to_point[:, 1] - edges[:, 1] * to_point[:, 0]
    if cross.abs().min() > 1e-6:
        assert bool((distances_to(double(point), double(box)) > 0).all()) == bool((cross > 0).all())


@given(point=Point, box=Box)
def test_what_a_network_writes_is_turned_into_the_distances(point: tuple[float, float], box: tuple[float, ...]) -> None:
    """The same corners in the end, to what the guard against a direction of no length costs."""
    boxes = double(box)
    double_angle = 2 * boxes[:, 4]
    direction = 100 * torch.stack([double_angle.cos(), double_angle.sin()], -1)
    distances, angle = turned(boxes[:, :2] - double(point), boxes[:, 2:4], direction)
    found = corners(boxes_from(double(point), distances, angle))[0]
    gaps = torch.cdist(found, corners(boxes)[0])
    assert gaps.amin(1).max() < 1e-2


def test_nothing_jumps_where_the_angle_does() -> None:
    """A box that points up, seen from its end: two directions on either side of the seam give one rectangle."""
    offset, sides, point = double((0, 20)), double((60, 10)), double((0, 0))
    ends = []
    for sign in (-1, 1):
        distances, angle = turned(offset, sides, double((-1, sign * 1e-9)))
        ends.append(boxes_from(point, distances, angle))
        assert abs(float(angle)) == pytest.approx(math.pi / 2)
    torch.testing.assert_close(ends[0][:, :4], ends[1][:, :4], atol=1e-6, rtol=0)


def test_a_network_that_writes_zeros_has_a_direction_and_gradients() -> None:
    direction = torch.zeros(1, 2, requires_grad=True)
    distances, angle = turned(torch.zeros(1, 2), torch.full((1, 2), 8.0), direction)
    (distances.sum() + angle.sum()).backward()
    assert angle.tolist() == [0]
    assert direction.grad is not None
    assert direction.grad.isfinite().all()


def test_centreness_is_that_of_fcos() -> None:
    """sqrt(min(l, r) / max(l, r) · min(t, b) / max(t, b)): its equation 3, by hand."""
    values = centreness(double((1, 2, 4, 8), (5, 5, 5, 5), (0, 2, 4, 8), (-1, 2, 4, 8)))
    assert values.tolist() == pytest.approx([0.25, 1, 0, 0])
