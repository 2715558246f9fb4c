"""Sizes of objects that teach alike."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.losses.dynamic_balance import DynamicBalance, bins, gradient_sizes

SIDES = st.lists(st.floats(1, 300, width=32), max_size=60)
SHARES = st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4)


def squares(*sides: float) -> torch.Tensor:
    rows = [(0.0, 0.0, side, side, 0.0) for side in sides]
    return torch.tensor(rows, dtype=torch.float32).view(-1, 5)


def with_shares(*shares: float) -> DynamicBalance:
    balance = DynamicBalance()
    balance.shares.copy_(torch.tensor(shares))
    return balance


def test_bins_go_by_the_root_of_the_area_and_a_limit_belongs_to_the_larger() -> None:
    boxes = torch.tensor([[0, 0, 15.9, 4, 0], [0, 0, 16, 4, 0], [0, 0, 15.9, 15.9, 0], [0, 0, 64, 4, 0]])
    assert bins(boxes).tolist() == [0, 1, 1, 2]
    assert bins(squares(7.99, 8, 15.99, 16, 31.99, 32, 1000)).tolist() == [0, 1, 1, 2, 2, 3, 3]


@given(SIDES, SHARES)
def test_weights_keep_the_amount_of_loss_and_their_bounds(sides: list[float], shares: list[float]) -> None:
    """Σ n_b w_b = Σ n_b; no weight is more than 2 / 0.5 times another, so none leaves [1/4, 4]; the bin with the larger
    gradient never weighs more."""
    boxes = squares(*sides)
    weights = with_shares(*shares).weights(boxes)
    assert weights.shape == (len(sides),)
    assert float(weights.sum()) == pytest.approx(len(sides), rel=1e-5)
    if len(sides):
        assert float(weights.max() / weights.min()) <= 4 * (1 + 1e-5)
        assert 0.25 * (1 - 1e-5) <= float(weights.min()) <= float(weights.max()) <= 4 * (1 + 1e-5)
    of_bin = dict(zip(bins(boxes).tolist(), weights.tolist(), strict=True))
    for one, other in product(of_bin, of_bin):
        if shares[one] > shares[other]:
            assert of_bin[one] <= of_bin[other]


def test_known_weights() -> None:
    """ḡ = 1: shares of 1/4, 1, 16/9 and 35/36 ask for 2, 1, 3/4 and √(36/35). Of three tiny objects and one of 20 px
    the mean is (3 · 2 + 3/4) / 4 = 27/16: 32/27 and 4/9."""
    balance = with_shares(1 / 4, 1, 16 / 9, 35 / 36)
    assert balance.weights(squares(4, 5, 6, 20)).tolist() == pytest.approx([32 / 27] * 3 + [4 / 9])
    assert balance.weights(squares(4, 10)).tolist() == pytest.approx([4 / 3, 2 / 3])


def test_one_bin_alone_and_no_objects_change_nothing() -> None:
    balance = with_shares(9, 1, 1, 1)
    assert balance.weights(squares(3, 4, 5)).tolist() == [1, 1, 1]
    assert balance.weights(squares()).shape == (0,)
    before = balance.shares.clone()
    balance.observe(squares(), torch.zeros(0))
    assert torch.equal(balance.shares, before)
    alone = DynamicBalance()
    alone.observe(squares(3, 4), torch.tensor([5.0, 7.0]))
    assert alone.shares.tolist() == [1, 1, 1, 1]


def test_shares_follow_an_independent_computation() -> None:
    """Fifty steps of chance in plain Python: the mean of each bin over the mean of the bins there, decay 0.99."""
    random = np.random.default_rng(0)
    balance, wanted = DynamicBalance(), [1.0] * 4
    for _ in range(50):
        sides = random.uniform(2, 60, random.integers(0, 9))
        found = random.exponential(1 / np.sqrt(sides))
        balance.observe(squares(*sides), torch.tensor(found))
        groups: dict[int, list[float]] = {}
        for side, size in zip(sides.astype(np.float32), found, strict=True):
            groups.setdefault(int(side >= 8) + int(side >= 16) + int(side >= 32), []).append(size)
        means = {number: sum(sizes) / len(sizes) for number, sizes in groups.items()}
        for number, mean in means.items():
            wanted[number] = 0.99 * wanted[number] + 0.01 * mean / (sum(means.values()) / len(means))
    assert balance.shares.tolist() == pytest.approx(wanted, rel=1e-9)
    shares = np.array(wanted)
    asked = np.clip(np.sqrt(shares.mean() / shares), 0.5, 2)[[0, 0, 2, 3]]
    assert balance.weights(squares(3, 4, 20, 50)).tolist() == pytest.approx((asked / asked.mean()).tolist())


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 0.0])
def test_a_step_without_usable_gradients_is_forgotten(broken: float) -> None:
    balance = DynamicBalance()
    balance.observe(squares(3, 20), torch.tensor([broken, broken]))
    assert balance.shares.tolist() == [1, 1, 1, 1]


def test_a_bin_that_learns_nothing_gets_the_largest_weight_and_no_more() -> None:
    weights = with_shares(0, 1, 1, 1).weights(squares(3, 10))
    assert weights.isfinite().all()
    assert float(weights[0] / weights[1]) == pytest.approx(2 / np.sqrt(0.75))


def test_gradients_are_measured_in_units_of_the_box() -> None:
    """loss = 2 x₀ - x₁ + 3 cx + w / 4 - 5 a of one answer and nothing of another: 3, and with √(36 · 4) = 12 px
    (3 + 1/4) · 12, and 5."""
    logits = torch.zeros(2, 2, requires_grad=True)
    boxes = torch.tensor([[1.0, 2, 36, 4, 0.3], [1, 2, 36, 4, 0.3]], requires_grad=True)
    loss = 2 * logits[0, 0] - logits[0, 1] + 3 * boxes[0, 0] + boxes[0, 2] / 4 - 5 * boxes[0, 4]
    assert gradient_sizes(loss, logits, boxes).tolist() == pytest.approx([3 + 39 + 5, 0])
    loss.backward()  # the graph is still there
    assert boxes.grad is not None


def test_a_loss_of_scores_alone_has_no_gradient_by_boxes() -> None:
    logits, boxes = torch.zeros(3, 1, requires_grad=True), squares(4, 5, 6).requires_grad_()
    assert gradient_sizes(logits.sum() * 2, logits, boxes).tolist() == [2, 2, 2]
