"""Aligned point sampling, step by step, on cases small enough to be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.training.losses.aligned_points import (
    aligned_points,
    below_the_cut,
    best_levels,
    candidate_losses,
    fitted_mixture,
    misalignment,
    smallest_owners,
)
from tests.unit.training.losses.test_points import boxes, grid

INF = math.inf


def test_step_1_a_point_is_a_candidate_of_its_two_smallest_boxes() -> None:
    areas = boxes((0, 0, 10, 10, 0), (0, 0, 5, 2, 0), (0, 0, 30, 30, 0), (0, 0, 4, 5, 0))
    inside = torch.tensor([[True, True, True, True], [True, False, True, False], [False, False, True, False]])
    assert smallest_owners(inside, areas).tolist() == [
        [False, True, False, True], [True, False, True, False], [False, False, True, False],
    ]  # fmt: skip


def test_step_2_losses_are_focal_over_all_classes_and_one_minus_giou() -> None:
    """Point 0 is sure of class 1 (p = 0.9 and 0.1) and right about box 0; box 1 it misses by 20 px (GIoU -1/3)."""
    truth = boxes((0, 0, 10, 10, 0), (20, 0, 10, 10, 0))
    logits = torch.tensor([[-math.log(9.0), math.log(9.0)], [0.0, 0.0]])
    candidates = torch.tensor([[True, True], [False, True]])
    found = candidate_losses(candidates, logits, truth[[0, 1]], truth, torch.tensor([1, 0]))

    def miss(p: float) -> float:
        return -0.75 * p**2 * math.log(1 - p)

    def hit(p: float) -> float:
        return -0.25 * (1 - p) ** 2 * math.log(p)

    classes = [[miss(0.1) + hit(0.9), hit(0.1) + miss(0.9)], [INF, hit(0.5) + miss(0.5)]]
    assert found[0].flatten().tolist() == pytest.approx(np.ravel(classes).tolist(), abs=1e-5)
    assert found[1].flatten().tolist() == pytest.approx([0, 4 / 3, INF, 0], abs=0.03)


def test_step_3_nine_points_of_the_two_levels_with_the_lowest_mean() -> None:
    """Three levels. Of the first the nine lowest have mean 5 (twelve would have more), of the second three have 4, of
    the third one has 9: the second and the first are kept, their points with them."""
    strides = torch.tensor([4.0] * 12 + [8.0] * 4 + [16.0] * 2)
    fitness = torch.tensor([50.0, 60, 70, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 4, 5, INF, 9, INF])
    alone = torch.full_like(fitness, INF)
    alone[13] = 1.0
    short = best_levels(torch.stack([fitness, alone], 1), strides)
    assert sorted(short.points[0, short.taken[0]].tolist()) == [*range(3, 12), 12, 13, 14]
    assert short.points[1, short.taken[1]].tolist() == [13]
    assert short.one_level.tolist() == [False, True]


def test_step_4_agreeing_losses_are_better_than_the_same_sum_apart() -> None:
    """sqrt(σ(|a - b|) (a + b)): at 1 and 1 sqrt(0.5 · 2) = 1, at 2 and 0 sqrt(0.8808 · 2); on one level the sum."""
    a, b = torch.tensor([[1.0, 2.0, 0.0]] * 2), torch.tensor([[1.0, 0.0, 2.0]] * 2)
    apart = math.sqrt(2 / (1 + math.exp(-2)))
    found = misalignment(a, b, torch.tensor([False, True]))
    assert found[0].tolist() == pytest.approx([1, apart, apart])
    assert found[1].tolist() == [2, 2, 2]


def test_step_5_the_cut_falls_inside_the_lower_group() -> None:
    """Low values around 0.2, high ones around 2: none of the high, and of the low those up to the likeliest."""
    score = torch.tensor([[2.0, 0.19, 0.2, 0.21, 1.9, 0.3, 2.1, 9.9]])
    taken = torch.tensor([[True] * 7 + [False]])
    kept = below_the_cut(score, taken)[0].tolist()
    assert kept[1:3] == [True, True]
    assert not kept[5], "worse than the likeliest member of its own group"
    assert not any(kept[i] for i in (0, 4, 6, 7))


def test_step_5_one_candidate_is_taken_and_equal_ones_all_are() -> None:
    score = torch.tensor([[0.7, 5.0, 5.0], [0.4, 0.4, 0.4], [1.0, 1.0, 1.0]])
    taken = torch.tensor([[True, False, False], [True, True, True], [False, False, False]])
    assert below_the_cut(score, taken).tolist() == [[True, False, False], [True] * 3, [False] * 3]


def test_the_mixture_is_that_of_plain_expectation_maximisation() -> None:
    """Row by row, number by number; rows that are short, and rows that take long, do not change each other."""
    random = np.random.default_rng(3)
    rows = [
        np.concatenate([random.normal(3, 0.4, low), random.normal(9, 1.5, high)])
        for low, high in ((6, 12), (9, 9), (1, 4), (3, 0), (14, 4))
    ]
    value, taken = torch.zeros(len(rows), 18, dtype=torch.float64), torch.zeros(len(rows), 18, dtype=torch.bool)
    for number, row in enumerate(rows):
        value[number, : len(row)], taken[number, : len(row)] = torch.from_numpy(row), True
    parts, means = fitted_mixture(value, taken)
    for number, row in enumerate(rows):
        expected_means, expected_parts = plain_mixture(row)
        assert means[number].tolist() == pytest.approx(expected_means, rel=1e-6)
        np.testing.assert_allclose(parts[number, : len(row)].numpy(), expected_parts, rtol=1e-6, atol=1e-6)


def plain_mixture(row: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Two Gaussians by the textbook (Bishop, 9.2.2), a loop over values and components."""
    mean, variance, weight = [row.min(), row.max()], [10.0, 10.0], [0.5, 0.5]
    before = -INF

    def parts() -> np.ndarray:
        return np.array([
            [math.log(w) - (x - m) ** 2 / (2 * v) - math.log(2 * math.pi * v) / 2
             for m, v, w in zip(mean, variance, weight, strict=True)] for x in row
        ])  # fmt: skip

    for _ in range(100):
        density = np.exp(parts())
        share = density / density.sum(1, keepdims=True)
        now = float(np.mean(np.log(density.sum(1))))
        for k in range(2):
            mass = share[:, k].sum() + 10 * np.finfo(np.float64).eps
            mean[k] = (share[:, k] * row).sum() / mass
            variance[k] = (share[:, k] * (row - mean[k]) ** 2).sum() / mass + 1e-6
            weight[k] = mass / len(row)
        if abs(now - before) < 1e-3:
            break
        before = now
    return mean, parts()


def test_all_steps_the_points_that_both_tasks_like_learn_the_object() -> None:
    """Two points inside are right about class and box, two about one of them, the others about neither."""
    points, strides = grid(64)
    truth, class_ids = boxes((32, 32, 24, 24, 0)), torch.tensor([0])
    logits = torch.full((len(points), 1), -2.0)
    predicted = torch.cat([points, strides[:, None].expand(-1, 2), torch.zeros(len(points), 1)], 1)
    (inside,) = torch.nonzero((strides == 4) & ((points - 32).abs().amax(1) < 12), as_tuple=True)
    both, sure, placed = inside[[0, 7]], inside[[14]], inside[[21]]
    logits[torch.cat([both, sure])] = 3.0
    predicted[torch.cat([both, placed])] = truth[0]
    owner = aligned_points(points, strides, logits, predicted, truth, class_ids)
    assert sorted(torch.nonzero(owner == 0)[:, 0].tolist()) == sorted(both.tolist())


def test_all_steps_a_point_that_two_objects_want_goes_to_the_smaller() -> None:
    """Two points say what is nearly both boxes. One box alone has them, whichever it is; of both the smaller one."""
    points, strides = grid(64)
    large, small = (32, 32, 26, 26, 0), (32, 32, 24, 24, 0)
    logits = torch.full((len(points), 1), -2.0)
    predicted = torch.cat([points, strides[:, None].expand(-1, 2), torch.zeros(len(points), 1)], 1)
    (wanted,) = torch.nonzero((strides == 4) & ((points - 32).abs().amax(1) < 3), as_tuple=True)
    logits[wanted], predicted[wanted] = 3.0, torch.tensor([32.0, 32, 25, 25, 0])
    for truth, expected in (((large,), 0), ((small,), 0), ((large, small), 1), ((small, large), 0)):
        one_class = torch.zeros(len(truth), dtype=torch.int64)
        owner = aligned_points(points, strides, logits, predicted, boxes(*truth), one_class)
        assert owner[wanted].tolist() == [expected] * len(wanted)


def test_all_steps_a_boat_between_points_has_one() -> None:
    points, strides = grid(64)
    truth = boxes((32, 32, 40, 40, 0.3), (12.5, 52, 2, 2, 0))
    torch.manual_seed(0)
    predicted = torch.cat([points, 4 * strides[:, None].expand(-1, 2), torch.zeros(len(points), 1)], 1)
    owner = aligned_points(points, strides, torch.randn(len(points), 2), predicted, truth, torch.tensor([0, 1]))
    assert (owner == 0).any()
    assert (owner == 1).sum() == 1
