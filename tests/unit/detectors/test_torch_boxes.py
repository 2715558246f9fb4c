"""Geometry that the oriented network and its training stand on, against float64 geometry and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.detectors.torch_boxes import (
    align_to,
    canonical,
    corners,
    covariance,
    kl_divergence,
    kld_distance,
    reference_frames,
    refine,
)
from pipeline.geometry.obb import canonical_obb, obb_to_corners

SIDES = st.floats(2.0, 80.0)
ANGLES = st.floats(-10.0, 10.0)
BOXES = st.tuples(st.floats(-50, 300), st.floats(-50, 300), SIDES, SIDES, ANGLES)


def as_tensor(*boxes: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(boxes, dtype=torch.float64)


def as_point_set(points: torch.Tensor) -> np.ndarray:
    """(4, 2) corners in an order that does not depend on where they start."""
    rounded = points.numpy().round(5) + 0.0
    return rounded[np.lexsort(rounded.T)]


@given(BOXES)
@example((0.0, 0.0, 2.0, 3.0, -2.220446049250313e-16))
def test_corners_and_canonical_form_agree_with_the_float64_geometry(box: tuple[float, ...]) -> None:
    expected = obb_to_corners(canonical_obb(np.array([box])))[0]
    written = canonical(as_tensor(box))
    assert written[0, 2] >= written[0, 3]
    assert -math.pi / 2 <= written[0, 4] < math.pi / 2
    np.testing.assert_allclose(
        as_point_set(corners(as_tensor(box))[0]), as_point_set(torch.tensor(expected)), atol=2e-5
    )
    np.testing.assert_allclose(as_point_set(corners(written)[0]), as_point_set(torch.tensor(expected)), atol=2e-5)


@given(BOXES, ANGLES)
def test_alignment_keeps_the_rectangle_and_comes_within_an_eighth_of_a_turn(
    box: tuple[float, ...], reference: float
) -> None:
    """(w, h, a) ~ (h, w, a ± 90°) ~ (w, h, a ± 180°): the residual to learn never exceeds 45°."""
    aligned = align_to(as_tensor(box), torch.tensor([reference], dtype=torch.float64))
    assert abs(aligned[0, 4] - reference) <= math.pi / 4 + 1e-9
    np.testing.assert_allclose(as_point_set(corners(aligned)[0]), as_point_set(corners(as_tensor(box))[0]), atol=2e-5)


def test_alignment_swaps_sides_exactly_when_it_turns_by_an_odd_number_of_quarters() -> None:
    aligned = align_to(as_tensor((0, 0, 30, 10, 0.1), (0, 0, 30, 10, 0.1)), torch.tensor([1.5, 3.0]).double())
    assert aligned[0, 2:].tolist() == pytest.approx([10, 30, 0.1 + math.pi / 2])
    assert aligned[1, 2:].tolist() == pytest.approx([30, 10, 0.1 + math.pi])


@given(BOXES, BOXES)
def test_divergence_equals_the_closed_form_with_matrix_inverses(
    predicted: tuple[float, ...], target: tuple[float, ...]
) -> None:
    """KL of two Gaussians as in every textbook, with explicit inverse and determinant in float64."""
    p, t = as_tensor(predicted), as_tensor(target)
    sp, s_t = covariance(p)[0].numpy(), covariance(t)[0].numpy()
    offset = (p - t)[0, :2].numpy()
    inverse = np.linalg.inv(sp)
    expected = 0.5 * (
        offset @ inverse @ offset + np.trace(inverse @ s_t) + np.log(np.linalg.det(sp) / np.linalg.det(s_t)) - 2
    )
    assert float(kl_divergence(p, t)[0]) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_divergence_is_blind_to_how_a_rectangle_is_written() -> None:
    target = as_tensor((5, 5, 30, 10, 0.3))
    same = as_tensor((5, 5, 30, 10, 0.3), (5, 5, 10, 30, 0.3 - math.pi / 2), (5, 5, 30, 10, 0.3 + math.pi))
    assert kl_divergence(same, target.expand(3, 5)).numpy() == pytest.approx(np.zeros(3), abs=1e-9)


def test_distance_has_a_finite_gradient_for_the_worst_boxes_a_network_writes() -> None:
    """Far apart, one pixel thin, a thousand pixels long, in float32."""
    predicted = torch.tensor([[0.0, 0, 1, 1, 0], [500, 500, 4096, 1, 1.5], [3, 3, 10, 10, 0]], requires_grad=True)
    target = torch.tensor([[900.0, 900, 200, 2, 0.7], [0, 0, 5, 5, 0], [3, 3, 10, 10, 0]])
    distance = kld_distance(predicted, target)
    distance.sum().backward()
    assert ((distance >= 0) & (distance < 1)).all()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


@given(BOXES)
def test_zero_residual_refines_to_the_same_rectangle(box: tuple[float, ...]) -> None:
    refined = refine(as_tensor(box), torch.zeros(1, 5, dtype=torch.float64))
    np.testing.assert_allclose(as_point_set(corners(refined)[0]), as_point_set(corners(as_tensor(box))[0]), atol=2e-5)


def test_refinement_moves_along_the_boxes_own_axes() -> None:
    """Half a length ahead of a box that points down the screen is down the screen."""
    moved = refine(as_tensor((100, 50, 40, 10, math.pi / 2)), as_tensor((0.5, 0, math.log(2), 0, math.pi / 4)))
    assert moved[0].tolist() == pytest.approx([100, 70, 80, 10, -math.pi / 4])


def test_reference_frames_take_box_corners_to_the_unit_square() -> None:
    box = as_tensor((100, 50, 40, 10, 0.6))
    frame = reference_frames(box, 200, 100)[0]
    local = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=torch.float64)
    mapped = local @ frame[:, :2].T + frame[:, 2]
    torch.testing.assert_close(mapped * torch.tensor([200.0, 100.0]).double(), corners(box)[0])
