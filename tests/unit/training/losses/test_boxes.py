"""Matching and losses over oriented boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.detectors.oriented_rtdetr.network import LayerOutput
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.training.data.batches import Target
from pipeline.training.losses.boxes import (
    box_losses,
    corner_distance,
    focal,
    generalised_overlap,
    inside,
    rotated_overlap,
    varifocal,
)
from pipeline.training.losses.criterion import set_losses, token_targets
from pipeline.training.losses.denoising import make_denoising
from pipeline.training.losses.matcher import match, match_cost


def target(*boxes: tuple[float, ...]) -> Target:
    rows = torch.tensor(boxes, dtype=torch.float32).view(-1, 5)
    return Target(rows, torch.zeros(len(rows), dtype=torch.int64), torch.zeros(0, 5))


def test_overlap_measure_agrees_with_exact_polygons() -> None:
    """The quality target is the real rotated IoU, to a few hundredths, not a horizontal one."""
    random = np.random.default_rng(0)
    first = np.column_stack(
        [random.uniform(0, 20, (300, 2)), random.uniform(5, 40, (300, 2)), random.uniform(-2, 2, 300)]
    )
    second = first + random.normal(0, 1, (300, 5)) * [3, 3, 3, 3, 0.4]
    second[:, 2:4] = np.maximum(second[:, 2:4], 2)
    found = rotated_overlap(torch.tensor(first), torch.tensor(second)).numpy()
    exact = rotated_iou_pairs(first, second)
    assert np.abs(found - exact).max() < 0.08
    assert np.abs(found - exact).mean() < 0.02


OCTAGON = 200 * (math.sqrt(2) - 1)
"""What two squares of 10 × 10 share when one is turned by 45 degrees."""


@pytest.mark.parametrize("turn", [0.0, 0.7])
@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ((20.0, 0, 10, 10, 0), -100 / 300),  # nothing shared; a third of what encloses both is neither
        ((0.0, 0, 10, 10, 0), 1),
        ((0.0, 0, 40, 40, math.pi / 4), 100 / 1600 - (3200 - 1600) / 3200),  # its corners reach 20 sqrt 2
        ((0.0, 0, 10, 10, math.pi / 4), OCTAGON / (200 - OCTAGON) - OCTAGON / 200),  # theirs 5 sqrt 2
    ],
)
def test_generalised_overlap_with_a_square_by_hand_whatever_way_both_are_turned(
    first: tuple[float, ...], expected: float, turn: float
) -> None:
    x, _, w, h, angle = first
    turned = torch.tensor([[x * math.cos(turn), x * math.sin(turn), w, h, angle + turn]])
    square = torch.tensor([[0.0, 0, 10, 10, turn]])
    assert float(generalised_overlap(turned, square)) == pytest.approx(expected, abs=0.03)


def test_focal_loss_is_the_formula() -> None:
    """-α (1 - p)^γ ln p and -(1 - α) p^γ ln(1 - p), at p = 0.9, and its gradient."""
    logits = torch.tensor([math.log(9.0)] * 2, requires_grad=True)
    found = focal(logits, torch.tensor([1.0, 0.0]))
    assert found.tolist() == pytest.approx([-0.25 * 0.01 * math.log(0.9), -0.75 * 0.81 * math.log(0.1)], rel=1e-4)
    found.sum().backward()
    assert logits.grad is not None
    assert logits.grad[0] < 0 < logits.grad[1]


def test_corner_distance_is_zero_for_every_way_to_write_a_rectangle() -> None:
    ways = torch.tensor([[5.0, 5, 30, 10, 0.3], [5, 5, 10, 30, 0.3 + math.pi / 2], [5, 5, 30, 10, 0.3 - math.pi]])
    assert corner_distance(ways, ways[:1]).numpy() == pytest.approx(np.zeros((3, 1)), abs=1e-3)


def test_corner_distance_is_the_hausdorff_distance_of_the_corners() -> None:
    """A box shifted by (3, 4): every corner is 5 px from its partner."""
    boxes = torch.tensor([[0.0, 0, 40, 20, 0.0]])
    assert float(corner_distance(boxes, boxes + torch.tensor([3.0, 4, 0, 0, 0]))) == pytest.approx(5, abs=1e-3)


def test_matcher_takes_the_query_with_the_nearest_corners_whatever_its_angle_is_called() -> None:
    """Query 1 is the object written with sides swapped; query 0 has its very angle and sides but lies 6 px off. L1 on
    (cx, cy, w, h, a) would take query 0."""
    objects = target((100, 100, 40, 10, 0.2))
    boxes = torch.tensor([[106.0, 100, 40, 10, 0.2], [100, 100, 10, 40, 0.2 - math.pi / 2], [100, 100, 40, 10, 1.2]])
    queries, _ = match(torch.zeros(3, 1), boxes, objects.boxes, objects.class_ids)
    assert queries.tolist() == [1]


def test_matching_is_one_to_one_and_cheapest() -> None:
    objects = target((20, 20, 30, 10, 0), (60, 60, 30, 10, 1), (90, 30, 20, 20, 0))
    boxes = objects.boxes[[2, 0, 1]] + 0.5
    queries, chosen = match(torch.zeros(3, 1), boxes, objects.boxes, objects.class_ids)
    assert sorted(zip(queries.tolist(), chosen.tolist(), strict=True)) == [(0, 2), (1, 0), (2, 1)]


def test_a_surer_query_is_cheaper() -> None:
    objects = target((20, 20, 30, 10, 0))
    cost = match_cost(torch.tensor([[2.0], [-2.0]]), objects.boxes.repeat(2, 1), objects.boxes, objects.class_ids)
    assert cost[0, 0] < cost[1, 0]


def test_box_losses_vanish_for_the_same_rectangle_near_the_reference() -> None:
    """(30, 10, 10°) against a reference of 95° is learnt as (10, 30, 100°)."""
    objects = torch.tensor([[5.0, 5, 30, 10, math.radians(10)]])
    written = torch.tensor([[5.0, 5, 10, 30, math.radians(100)]])
    losses = box_losses(written, objects, torch.tensor([math.radians(95)]))
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(
        {"l1": 0, "angle": 0, "kld": 0}, abs=1e-5
    )


def test_angle_loss_is_periodic_and_does_not_ask_for_the_angle_of_a_square() -> None:
    square, slender = torch.tensor([[0.0, 0, 20, 20, 0.0]]), torch.tensor([[0.0, 0, 40, 10, 0.0]])
    reference = torch.zeros(1)
    turned = torch.tensor([[0.0, 0, 20, 20, 0.5]])
    assert float(box_losses(turned, square, reference)["angle"]) == 0
    half_turn = slender + torch.tensor([0, 0, 0, 0, math.pi])
    assert float(box_losses(half_turn, slender, reference)["angle"]) == pytest.approx(0, abs=1e-6)
    assert float(box_losses(turned, slender, reference)["angle"]) > 0.1


def test_varifocal_asks_positives_for_their_quality_and_forgets_easy_negatives() -> None:
    logits = torch.tensor([[0.0], [-6.0], [3.0]])
    loss = varifocal(logits, torch.tensor([[0.8], [0.0], [0.0]]), torch.tensor([[True], [False], [False]]))
    assert float(loss[0]) == pytest.approx(0.8 * math.log(2), rel=1e-5)
    assert float(loss[1]) < 1e-6
    assert float(loss[2]) > 1


def test_points_in_turned_boxes() -> None:
    box = torch.tensor([[50.0, 50, 40, 10, math.pi / 4]])
    points = torch.tensor([[60.0, 60], [60, 40], [50, 56], [50, 58]])
    assert inside(points, box).tolist() == [True, False, True, False]


def test_token_targets_peak_at_the_objects_centre_and_follow_its_direction() -> None:
    centres = torch.stack(torch.meshgrid(torch.arange(2.0, 64, 4), torch.arange(2.0, 64, 4), indexing="xy"), -1).view(
        -1, 2
    )
    soft, _ = token_targets(centres, torch.full((256,), 4.0), target((34, 34, 40, 10, math.pi / 2)), 1)
    plane = soft.view(16, 16)
    assert plane.argmax() == 8 * 16 + 8
    assert plane.max() == 1
    assert plane[10, 8] > 0.3 > plane[8, 10]  # 8 px along the ship, 8 px beside it


def test_ignore_regions_are_neither_right_nor_wrong() -> None:
    """A confident query over an ignore region costs nothing; the same query elsewhere does."""
    region = Target(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), torch.tensor([[20.0, 20, 30, 30, 0]]))
    boxes = torch.tensor([[[20.0, 20, 10, 10, 0]]])

    def loss(at: torch.Tensor) -> float:
        return float(set_losses(LayerOutput(torch.full((1, 1, 1), 4.0), at, at), [region], 1)["class"])

    assert loss(boxes) == 0
    assert loss(boxes + 50) > 1


def test_denoising_groups_do_not_see_each_other_and_proposals_do_not_see_them() -> None:
    embedding = torch.nn.Embedding(1, 8)
    noisy = make_denoising(
        [target((50, 50, 30, 10, 0.3)), target((20, 20, 9, 9, 0), (70, 70, 30, 10, 1))], embedding, 7, torch.Generator()
    )
    assert noisy is not None
    count = noisy.target.shape[1]
    allowed = noisy.mask == 0
    assert not allowed[count:, :count].any()
    assert allowed[:, count:].all()
    assert (allowed[:count, :count].sum(1) == 4).all()  # two objects, one good and one bad query each
    assert set(noisy.target[0].tolist()) == {0, -1, -2}
    good = noisy.target[1] == 1
    shift = (noisy.queries.boxes[1, good, :2] - torch.tensor([70.0, 70.0])).norm(dim=1)
    assert good.sum() == count // 4
    assert shift.max() < math.hypot(15, 5)
