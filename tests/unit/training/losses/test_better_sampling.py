"""The formulas of Better Sampling (arXiv 2407.06127), against the paper's numbers and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.geometry.overlap import intersection_area_pairs, rotated_iou_pairs
from pipeline.training.losses.better_sampling import (
    WeightGenerator,
    area_ratio,
    attention_loss,
    discounted,
    expansions,
    offset_loss,
    sample_weights,
    scale_aligned,
)

PAPER = (1.5, 1.3, 1.2, 1.1, 1.05, 1.0)


def boxes(random: np.random.Generator, count: int) -> np.ndarray:
    return np.column_stack(
        [random.uniform(0, 20, (count, 2)), random.uniform(2, 40, (count, 2)), random.uniform(-2, 2, count)]
    )


def test_six_layers_have_the_papers_expansions_and_three_read_between_them() -> None:
    assert expansions(PAPER, 6) == pytest.approx(PAPER)
    assert expansions(PAPER, 3) == pytest.approx((1.5, 1.15, 1.0))
    assert expansions(PAPER, 2) == pytest.approx((1.5, 1.0))
    assert expansions(PAPER, 1) == pytest.approx((1.5,))
    assert expansions((1.2,), 4) == pytest.approx((1.2,) * 4)


@pytest.mark.parametrize("eta", [1.0, 1.15, 1.5])
def test_points_inside_the_expanded_box_cost_nothing_and_feel_nothing(eta: float) -> None:
    torch.manual_seed(0)
    offsets = ((2 * torch.rand(50, 2, 4, 4, 2) - 1) * eta).requires_grad_()
    loss = offset_loss(offsets, eta)
    assert loss.shape == (50,)
    loss.sum().backward()
    assert float(loss.detach().abs().max()) == 0
    assert offsets.grad is not None
    assert float(offsets.grad.abs().max()) == 0


def test_points_outside_are_pushed_towards_the_box_whichever_side_they_are_on() -> None:
    """Along the way of least loss |q| shrinks in every coordinate beyond η, and in no other one: eq. 5 as printed would
    push the points on the left to the right-hand corner, and those between box and η-box outwards."""
    torch.manual_seed(0)
    offsets = (6 * torch.rand(200, 2, 4, 4, 2) - 3).requires_grad_()
    offset_loss(offsets, 1.3).sum().backward()
    downhill, where = -offsets.grad, offsets.detach()  # type: ignore[operator]
    beyond = where.abs() > 1.3
    assert beyond.float().mean() > 0.4
    assert (downhill[beyond] * where[beyond] < 0).all()
    assert (downhill[~beyond] == 0).all()


def test_the_offset_loss_is_the_square_of_the_l1_distance_to_the_expanded_box() -> None:
    """Of one point at (-2, 1.7) and η 1.5: (0.5 + 0.2)²; a mean over the points."""
    one = torch.tensor([[-2.0, 1.7]]).view(1, 1, 1, 1, 2)
    assert float(offset_loss(one, 1.5)) == pytest.approx(0.49)
    two = torch.cat([one, torch.zeros_like(one)], 3)
    assert float(offset_loss(two, 1.5)) == pytest.approx(0.245)


def by_hand(weights: np.ndarray, offsets: np.ndarray) -> float:
    """Eq. 6 of one query, as loops."""
    heads, levels, points = weights.shape
    total = 0.0
    for head in range(heads):
        for level in range(levels):
            inside = [
                weights[head, level, k] for k in range(points) if max(map(abs, offsets[head, level, k].tolist())) <= 1
            ]
            for k in range(points):
                if inside and max(map(abs, offsets[head, level, k].tolist())) > 1:
                    total += max(weights[head, level, k] - max(inside), 0.0)
    return total / heads


def test_the_attention_loss_is_equation_6() -> None:
    random = np.random.default_rng(0)
    offsets = random.uniform(-1.6, 1.6, (40, 2, 4, 4, 2))
    weights = random.dirichlet(np.ones(16), (40, 2)).reshape(40, 2, 4, 4)
    found = attention_loss(torch.tensor(weights), torch.tensor(offsets)).numpy()
    expected = [by_hand(w, q) for w, q in zip(weights, offsets, strict=True)]
    assert max(expected) > 0.1
    assert found == pytest.approx(np.array(expected), abs=1e-12)


def test_attention_is_lowered_outside_and_nothing_else_is_touched() -> None:
    """One level: the best point inside has 0.2, those outside 0.5 and 0.1; only the first outweighs it."""
    weights = torch.tensor([0.2, 0.5, 0.1, 0.2]).view(1, 1, 1, 4).requires_grad_()
    offsets = torch.tensor([[0.5, 0.5], [-1.5, 0.0], [0.0, 2.0], [1.0, -1.0]]).view(1, 1, 1, 4, 2)
    loss = attention_loss(weights, offsets)
    assert float(loss.detach()) == pytest.approx(0.3)
    loss.sum().backward()
    assert weights.grad is not None
    assert weights.grad.flatten().tolist() == [0, 1, 0, 0]
    assert float(attention_loss(weights, offsets + 9).detach()) == 0  # no point inside: eq. 6 says nothing


def test_identity_11_holds_for_random_rotated_boxes() -> None:
    """(z / y) / (ρ + 1) = u / (1 + u), with z and u measured exactly: so ρ is found over true, not the reverse."""
    random = np.random.default_rng(0)
    found, true = boxes(random, 2000), boxes(random, 2000)
    u, z = rotated_iou_pairs(found, true), intersection_area_pairs(found, true)
    ratio = area_ratio(torch.tensor(found), torch.tensor(true)).numpy()
    assert (u > 0).mean() > 0.7
    np.testing.assert_allclose(z / (true[:, 2] * true[:, 3]) / (ratio + 1), u / (1 + u), rtol=1e-9, atol=1e-12)


def test_targets_are_the_papers_formula_with_its_numbers() -> None:
    """β 0.73, θ 6, at full overlap: v^0.27 of ρ = 1/2, 1, 2, 4, where v is 0.598, 1, 0.357, 0.002 (eqs. 12, 13)."""
    ratio = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    v = scale_aligned(torch.ones(4), ratio, 0.0, 6.0)
    assert v.tolist() == pytest.approx([0.598, 1.0, 0.357, 0.0025], abs=5e-4)
    assert scale_aligned(torch.ones(4), ratio, 0.73, 6.0).tolist() == pytest.approx([0.870, 1, 0.757, 0.198], abs=5e-4)
    overlap = torch.tensor([0.0, 0.3, 0.7, 1.0])
    assert scale_aligned(overlap, ratio, 1.0, 6.0).tolist() == pytest.approx(overlap.tolist())
    u, r = 0.4, math.sqrt(0.8)
    expected = u**0.73 * math.exp(-6 * (r - 1) ** 2) ** 0.27
    assert float(scale_aligned(torch.tensor(u), torch.tensor(0.8), 0.73, 6.0)) == pytest.approx(expected)


def test_targets_stay_between_nothing_and_one_for_boxes_of_any_size() -> None:
    random = np.random.default_rng(1)
    found, true = boxes(random, 500), boxes(random, 500)
    found[:, 2:4] *= 10 ** random.uniform(-2, 3, (500, 2))
    u = torch.tensor(rotated_iou_pairs(found, true))
    target = scale_aligned(u, area_ratio(torch.tensor(found), torch.tensor(true)), 0.73, 6.0)
    assert target.isfinite().all()
    assert ((target >= 0) & (target <= 1)).all()


def test_the_generator_has_the_shapes_of_figure_4() -> None:
    """C x 2C, C x C and 1 x C; with C = 256, a generator in each of six layers makes the 42 M parameters of table 1
    43 M, rounded."""
    generator = WeightGenerator(256)
    shapes = [tuple(parameter.shape) for parameter in generator.parameters() if parameter.ndim == 2]
    assert shapes == [(256, 512), (256, 256), (256, 256), (1, 256), (1, 256)]
    assert 0.5e6 < 6 * sum(parameter.numel() for parameter in generator.parameters()) < 2e6


@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_weights_of_samples_have_mean_1_and_no_gradient(count: int) -> None:
    torch.manual_seed(count)
    features = torch.randn(count, 8, requires_grad=True), 5 * torch.randn(count, 8, requires_grad=True)
    made = sample_weights(WeightGenerator(8), features, torch.rand(count), torch.rand(count))
    for weight in (made.of_class, made.of_box):
        assert weight.shape == (count,)
        assert float(weight.mean()) == pytest.approx(1, abs=1e-6)
        assert weight.min() > 0
        assert not weight.requires_grad
    assert count == 1 or float(made.of_class.std()) > 0
    assert made.difficulty_error.shape == (count,)


def test_weights_are_discounted_while_scores_are_far_from_their_targets() -> None:
    """Eq. 19: w^(1 - |t - s|); at |t - s| = 1 nothing is left of w. 0.25 and 0.5 have the means 0.375, then 0.75."""
    weight = torch.tensor([0.25, 0.5])
    assert discounted(weight, torch.zeros(2)).tolist() == pytest.approx([2 / 3, 4 / 3])
    assert discounted(weight, torch.ones(2)).tolist() == pytest.approx([1, 1])
    raw = np.array([0.25, 0.5]) ** 0.5
    assert discounted(weight, torch.full((2,), 0.5)).tolist() == pytest.approx((raw / raw.mean()).tolist())


def test_no_weight_is_far_from_the_others() -> None:
    """One easy object among nine hard ones keeps half a weight, up to the mean's last correction; NaN never."""
    weight = torch.tensor([0.0, *[0.9] * 9])
    found = discounted(weight, torch.zeros(10))
    assert float(found[0] / found[1]) == pytest.approx(0.5 / (10 / 9), rel=1e-3)
    assert discounted(torch.zeros(3), torch.zeros(3)).tolist() == pytest.approx([1, 1, 1])


def test_the_generator_learns_which_objects_are_hard_and_weighs_them_more() -> None:
    """Two kinds of features, one with right scores and one with wrong ones: after some steps the wrong ones weigh more;
    the features themselves get no gradient."""
    torch.manual_seed(0)
    kinds = torch.randn(2, 16)
    generator = WeightGenerator(16)
    optimizer = torch.optim.Adam(generator.parameters(), 1e-2)
    hard = torch.tensor([0, 1] * 16)
    target, score = torch.where(hard == 1, 0.6, 0.9), torch.where(hard == 1, 0.2, 0.85)
    features = kinds[hard].requires_grad_()

    def made() -> tuple[Tensor, Tensor, Tensor]:
        weights = sample_weights(generator, (features, features), score, target)
        return weights.of_class, weights.of_box, weights.difficulty_error.mean()

    first = float(made()[2].detach())
    for _ in range(100):
        optimizer.zero_grad()
        made()[2].backward()
        optimizer.step()
    of_class, of_box, error = made()
    assert float(error.detach()) < 0.02 * first
    assert (of_class[1], of_box[1]) > (of_class[0], of_box[0])
    assert of_box[1] > 1.5 * of_box[0]
    assert features.grad is None
