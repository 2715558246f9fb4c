"""Which points learn which object by FCOS's own rule, on turned boxes."""

from __future__ import annotations

import math

import torch

from pipeline.detectors.modules.features import token_grid
from pipeline.training.losses.points import points_inside, ranged_points, smallest_owner

STRIDES = (4, 8, 16, 32)


def grid(size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and strides of a square tile."""
    return token_grid([(size // s, size // s) for s in STRIDES], STRIDES, torch.device("cpu"))


def boxes(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(-1, 5)


def test_a_turned_box_is_learnt_inside_it_and_not_inside_its_bounds() -> None:
    points, strides = grid()
    owner = ranged_points(points, strides, boxes((64, 64, 30, 12, math.pi / 4)))
    learnt = points[(owner == 0) & (strides == 4)]
    across = (learnt[:, 1] - learnt[:, 0]).abs() / math.sqrt(2)
    assert len(learnt) > 15
    assert across.max() < 6
    assert owner[(points == torch.tensor([74.0, 54.0])).all(1)].eq(-1).all(), "inside the bounds, far from the box"


def test_levels_share_objects_by_the_largest_distance() -> None:
    """A box of 44 × 44: from its middle 22 px, from its corners up to 44: more than the 32 of stride 4. 120 × 10: its
    middle is 60 px from its ends, of stride 8, its ends up to 120, of stride 16."""
    points, strides = grid(256)
    owner = ranged_points(points, strides, boxes((40, 40, 44, 44, 0), (128, 136, 120, 10, 0)))
    for number, (box, allowed) in enumerate([((40, 40), {4, 8}), ((128, 136), {8, 16})]):
        mine = owner == number
        assert set(strides[mine].int().tolist()) == allowed
        away = (points[mine] - torch.tensor(box, dtype=torch.float32)).abs()
        half = torch.tensor([22.0, 22]) if number == 0 else torch.tensor([60.0, 5])
        farthest = (half + away).amax(1)
        assert (farthest <= 8 * strides[mine]).all()
        assert ((farthest > 4 * strides[mine]) | (strides[mine] == 4)).all()


def test_the_smaller_of_two_boxes_has_the_points_in_both() -> None:
    points, strides = grid()
    owner = ranged_points(points, strides, boxes((60, 60, 60, 60, 0), (60, 60, 12, 12, 0)))
    inner = (points - 60).abs().amax(1) < 6
    assert (owner[inner & (strides == 4)] == 1).all()
    assert (owner == 0).any()


def test_an_object_between_points_is_learnt_by_the_nearest_one() -> None:
    """2 × 2 px around a corner of cells, where no point lies; and 70 × 1 px along the line between two rows."""
    points, strides = grid()
    tiny, slender = (28.5, 28.0, 2.0, 2.0, 0.0), (64.0, 64.0, 70.0, 1.0, 0.0)
    owner = ranged_points(points, strides, boxes(tiny, slender))
    assert points[owner == 0].tolist() == [[30.0, 26.0]] or points[owner == 0].tolist() == [[30.0, 30.0]]
    assert strides[owner == 0].tolist() == [4]
    assert strides[owner == 1].tolist() == [8]
    assert (points_inside(points, strides, boxes(tiny, slender)).sum(0) == 1).all()


def test_of_equal_boxes_the_first_has_the_points() -> None:
    same = boxes((0, 0, 5, 5, 0), (0, 0, 5, 5, 0))
    assert smallest_owner(torch.tensor([[True, True], [False, True], [False, False]]), same).tolist() == [0, 1, -1]
