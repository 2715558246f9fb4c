"""The mask that amplifies the foreground."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.detectors.modules.foreground_selection import PRIOR, ForegroundSelection

SHAPES = ((25, 37), (13, 19), (7, 10), (4, 5))


def levels(width: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, width, *shape, generator=generator) for shape in SHAPES]


def test_a_fresh_mask_is_its_prior_everywhere_whatever_it_is_shown() -> None:
    maps = levels()
    amplified, logits = ForegroundSelection(8, 4)(maps)
    for before, after, logit in zip(maps[:2], amplified[:2], logits, strict=True):
        assert logit.sigmoid().detach().numpy() == pytest.approx(PRIOR, rel=1e-5)
        torch.testing.assert_close(after, before * 1.01)


def test_a_hand_made_mask_doubles_what_it_takes_and_leaves_the_rest() -> None:
    """Width 4, so one hidden channel: it reads channel 0 where it is, times 1; the mask is σ(20 · that - 10), so 1
    where channel 0 is 1 and 0 where it is 0. The other channels are amplified there too."""
    module = ForegroundSelection(4, 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        first, last = module.masks[0].get_submodule("0"), module.masks[0].get_submodule("2")
        first.weight[0, 0, 1, 1] = 1.0
        last.weight[0] = 20.0
        last.bias[0] = -10.0
        feature = torch.full((1, 4, 3, 3), 3.0)
        feature[:, 0] = 0.0
        feature[:, 0, 1, 2] = 1.0
        (found,), (logits,) = module([feature])
    assert logits[0, 0].tolist() == [[-10, -10, -10], [-10, -10, 10], [-10, -10, -10]]
    wanted = np.full((3, 3), 3.0)
    wanted[1, 2] = 6.0
    np.testing.assert_allclose(found[0, 1].numpy(), wanted, atol=1e-3)
    assert found[0, 0, 1, 2] == pytest.approx(2.0, abs=1e-3)


def test_only_the_two_finest_levels_have_masks() -> None:
    module = ForegroundSelection(8, 4)
    maps = levels()
    amplified, logits = module(maps)
    assert [tuple(one.shape) for one in logits] == [(2, 1, 25, 37), (2, 1, 13, 19)]
    assert amplified[2] is maps[2]
    assert amplified[3] is maps[3]


def test_the_detection_loss_reaches_the_mask_from_the_first_step_on() -> None:
    module = ForegroundSelection(8, 4)
    nn.init.kaiming_normal_(module.masks[0].get_submodule("0").weight)  # type: ignore[arg-type]
    maps = [level.requires_grad_() for level in levels()]
    amplified, _ = module(maps)
    sum(level.square().sum() for level in amplified).backward()
    assert all((mask.get_submodule("2").weight.grad != 0).any() for mask in module.masks)
    assert all(level.grad is not None and level.grad.isfinite().all() for level in maps)
