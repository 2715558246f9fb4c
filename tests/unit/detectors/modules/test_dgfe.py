"""DGFE: the filtration is 1 or 2, a gradient reaches the threshold in our form and none in the official one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.detectors.modules.dgfe import (
    PACE,
    SOFTNESS,
    ChannelGate,
    DifferenceEnhancement,
    LearnableFiltration,
    OfficialFiltration,
)

THRESHOLD = 4 / 255


def threshold_of(module: nn.Module) -> nn.Parameter:
    """The one scalar among the parameters."""
    (found,) = (value for value in module.parameters() if value.ndim == 0)
    return found


def everywhere(difference: torch.Tensor) -> torch.Tensor:
    """Of chips without padding."""
    return torch.ones_like(difference, dtype=torch.bool)


@pytest.mark.parametrize("kind", [OfficialFiltration, LearnableFiltration])
def test_a_filtered_map_is_one_above_the_threshold_and_zero_below(kind: type[nn.Module]) -> None:
    difference = torch.tensor([0.0, THRESHOLD - 1e-4, THRESHOLD + 1e-4, 1.0])
    assert kind(THRESHOLD)(difference).tolist() == [0, 0, 1, 1]


def test_the_official_form_gives_a_half_at_the_threshold_itself() -> None:
    assert OfficialFiltration(0.25)(torch.tensor([0.25])).tolist() == [0.5]


def test_no_gradient_reaches_the_official_threshold() -> None:
    filtration = OfficialFiltration(THRESHOLD)
    filtration(torch.linspace(0, 0.05, 100)).sum().backward()
    assert filtration.threshold.grad is None or float(filtration.threshold.grad) == 0


def test_our_threshold_gets_the_gradient_of_the_sigmoid() -> None:
    """By finite differences of the soft step, through log t, at PACE times the speed of another weight."""
    difference = torch.linspace(1e-4, 0.05, 100, dtype=torch.float64)
    filtration = LearnableFiltration(THRESHOLD).double()
    filtration(difference).sum().backward()

    def soft(log_threshold: float) -> float:
        return float(((difference.log() - log_threshold) / SOFTNESS).sigmoid().sum())

    at, step = float(filtration.log_threshold.detach()), 1e-6
    assert at == pytest.approx(math.log(THRESHOLD))
    expected = PACE * (soft(at + step) - soft(at - step)) / (2 * step)
    assert expected < -1, "a higher threshold lets less through"
    assert filtration.shift.grad is not None
    assert float(filtration.shift.grad) == pytest.approx(expected, rel=1e-6)


def test_our_threshold_feels_a_map_that_is_far_above_it_and_nothing_of_the_padding() -> None:
    """Ten times the threshold, as a fresh network draws: a sigmoid of D itself, 1/255 wide, would be flat there."""
    for value, felt in ((10 * THRESHOLD, True), (0.0, False)):
        filtration = LearnableFiltration(THRESHOLD)
        filtration(torch.full((4,), value)).sum().backward()
        assert filtration.shift.grad is not None
        assert (float(filtration.shift.grad) < -0.1) is felt


def test_our_difference_map_gets_no_gradient_from_the_filtration() -> None:
    difference = torch.rand(10, requires_grad=True)
    filtered = LearnableFiltration(THRESHOLD)(difference)
    filtered.sum().backward()
    assert difference.grad is None


def test_our_threshold_learns_where_a_signal_lies_and_the_official_one_does_not_move() -> None:
    """Signal above 0.1, noise below 0.06, starting at 4/255, which lets the noise through."""
    torch.manual_seed(0)
    noise, signal = torch.rand(200) * 0.06, 0.1 + 0.1 * torch.rand(50)
    difference, wanted = torch.cat([noise, signal]), torch.cat([torch.zeros(200), torch.ones(50)])
    for filtration, moves in ((LearnableFiltration(THRESHOLD), True), (OfficialFiltration(THRESHOLD), False)):
        optimizer = torch.optim.Adam(filtration.parameters(), 0.001)
        before = float((filtration(difference) - wanted).square().mean().detach())
        for _ in range(300):
            optimizer.zero_grad()
            (filtration(difference) - wanted).square().mean().backward()
            optimizer.step()
        after = float((filtration(difference) - wanted).square().mean().detach())
        assert (after < 0.2 * before) is moves
        assert moves or float(threshold_of(filtration).detach()) == pytest.approx(THRESHOLD)


@pytest.mark.parametrize("learnable", [True, False])
def test_enhanced_features_are_what_numpy_gives(learnable: bool) -> None:
    """Gate by mean and maximum, the first pixel of each cell for the mask, values 1 and 2."""
    torch.manual_seed(0)
    module = DifferenceEnhancement(32, THRESHOLD, learnable=learnable)
    features, difference = torch.randn(2, 32, 3, 5), torch.rand(2, 1, 12, 20) * 2 * THRESHOLD
    with torch.no_grad():
        found = module(features, difference, everywhere(difference)).numpy()
    first, _, second = module.gate.weigh
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    w1, b1, w2, b2 = (v.detach().numpy() for v in (first.weight, first.bias, second.weight, second.bias))

    def weighed(pooled: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(pooled @ w1.T + b1, 0) @ w2.T + b2)

    x = features.numpy()
    gate = 1 / (1 + np.exp(-(weighed(x.mean((2, 3))) + weighed(x.max((2, 3))))))
    mask = 1 + (difference.numpy()[:, :, ::4, ::4] > np.float32(THRESHOLD))
    assert set(np.unique(mask)) == {1, 2}
    np.testing.assert_allclose(found, gate[:, :, None, None] * mask * x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_enhanced_does_not_depend_on_how_much_padding_there_is(dtype: torch.dtype) -> None:
    """A chip of 12 x 16 px alone, and as one of a batch of 16 x 20: neither mean nor maximum is of the padding."""
    torch.manual_seed(0)
    module = DifferenceEnhancement(16, THRESHOLD, learnable=True).to(dtype)
    features, difference = torch.randn(1, 16, 3, 4).to(dtype), torch.rand(1, 1, 12, 16) * 2 * THRESHOLD
    padded, padded_difference = torch.full((1, 16, 4, 5), 50.0, dtype=dtype), torch.zeros(1, 1, 16, 20)
    padded[..., :3, :4], padded_difference[..., :12, :16] = features, difference
    shown = padded_difference >= 0
    shown[..., 12:, :] = False
    shown[..., 16:] = False
    alone = module(features, difference, everywhere(difference))
    torch.testing.assert_close(module(padded, padded_difference, shown)[..., :3, :4], alone)


def test_the_gate_narrows_sixteenfold_as_in_the_paper() -> None:
    shapes = [tuple(value.shape) for value in ChannelGate(256).parameters()]
    assert shapes == [(16, 256), (16,), (256, 16), (256,)]


@pytest.mark.parametrize("learnable", [True, False])
def test_features_and_gate_get_a_gradient_and_only_our_threshold_does(learnable: bool) -> None:
    torch.manual_seed(0)
    module = DifferenceEnhancement(16, THRESHOLD, learnable=learnable)
    features = torch.randn(1, 16, 4, 4, requires_grad=True)
    difference = torch.rand(1, 1, 16, 16) * 2 * THRESHOLD
    module(features, difference, everywhere(difference)).square().sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    for name, parameter in module.named_parameters():
        reached = parameter.grad is not None and bool((parameter.grad != 0).any())
        assert reached == (learnable or parameter.ndim > 0), name


def test_a_mask_is_everything_or_nothing_in_a_network_of_sixteen_bits() -> None:
    module = DifferenceEnhancement(16, THRESHOLD, learnable=True).bfloat16()
    features = torch.ones(1, 16, 1, 2, dtype=torch.bfloat16)
    difference = torch.zeros(1, 1, 4, 8)
    difference[..., 4:] = 1.0
    enhanced = module(features, difference, everywhere(difference))
    assert enhanced.dtype == torch.bfloat16
    torch.testing.assert_close(enhanced[..., 1], 2 * enhanced[..., 0])
