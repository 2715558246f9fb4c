"""Context of the coarsest levels for the finest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.modules.context_enhancement import ContextEnhancement

ODD = ((25, 37), (13, 19), (7, 10), (4, 5))
"""Maps of a chip of 99 × 147 px, as a backbone that rounds up makes them."""


def pyramid(shapes: tuple[tuple[int, int], ...] = ODD, width: int = 16, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, width, rows, columns, generator=generator) for rows, columns in shapes]


def shaken(module: ContextEnhancement) -> ContextEnhancement:
    """As after some training: every parameter is something, normalisation has seen data."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    for seed in range(5):
        module.train()(pyramid(seed=seed))
    return module.eval()


def test_a_fresh_module_is_the_identity() -> None:
    levels = pyramid()
    for module in (ContextEnhancement(16, 4), ContextEnhancement(16, 4).eval()):
        for before, after in zip(levels, module(levels), strict=True):
            assert torch.equal(before, after)


def test_a_fresh_module_learns_its_strength_first_and_the_rest_from_the_second_step_on() -> None:
    torch.manual_seed(0)
    module = ContextEnhancement(16, 4)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    sum(level.square().sum() for level in module(pyramid())).backward()
    assert (module.strength.grad != 0).all()
    optimizer.step()
    optimizer.zero_grad()
    sum(level.square().sum() for level in module(pyramid())).backward()
    still = [name for name, p in module.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert still == []


def test_the_two_finest_levels_take_and_the_two_coarsest_give() -> None:
    """Of strides 4, 8, 16, 32: the coarse levels pass through; a change of either is heard in both fine ones, and a
    change of a fine level nowhere else."""
    module = shaken(ContextEnhancement(16, 4))
    levels = pyramid()
    with torch.no_grad():
        plain = module(levels)
        assert [torch.equal(a, b) for a, b in zip(levels, plain, strict=True)] == [False, False, True, True]
        for changed, heard in ((2, [0, 1, 2]), (3, [0, 1, 3]), (0, [0]), (1, [1])):
            other = list(levels)
            other[changed] = other[changed] + 1
            found = module(other)
            assert [n for n in range(4) if not torch.allclose(plain[n], found[n])] == heard


def test_three_levels_leave_one_to_take() -> None:
    module = ContextEnhancement(8, 3)
    assert len(module.align) == 1
    assert [one.shape[2:] for one in module(pyramid(ODD[:3], 8))] == [torch.Size(shape) for shape in ODD[:3]]


def test_values_are_those_of_an_independent_computation() -> None:
    """F + γ σ(W [mean P₁₆, mean P₃₂] + b) (1 × 1 (ReLU (3 × 3 within channels (enlarged, compressed)))) in numpy."""
    module = shaken(ContextEnhancement(16, 4)).double()
    levels = [level.double() for level in pyramid()]
    with torch.no_grad():
        found = module(levels)[1].numpy()
    state = {name: value.detach().numpy() for name, value in module.state_dict().items()}

    def normalised(values: np.ndarray, name: str) -> np.ndarray:
        mean, var, scale, shift = (
            state[f"{name}.{part}"][None, :, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return np.asarray((values - mean) / np.sqrt(var + 1e-5) * scale + shift)

    shape = levels[1].shape[2:]
    parts = []
    for number, level in enumerate(levels[2:]):
        narrow = np.einsum("oi,bihw->bohw", state[f"compress.{number}.0.weight"][:, :, 0, 0], level.numpy())
        narrow = np.maximum(normalised(narrow, f"compress.{number}.1"), 0)
        parts.append(functional.interpolate(torch.tensor(narrow), size=shape, mode="bilinear").numpy())
    joined = np.pad(np.concatenate(parts, 1), ((0, 0), (0, 0), (1, 1), (1, 1)))
    kernel = state["align.1.0.weight"][:, 0]
    mixed = sum(
        kernel[:, dy, dx][None, :, None, None] * joined[:, :, dy : dy + shape[0], dx : dx + shape[1]]
        for dy in range(3)
        for dx in range(3)
    )
    hidden = np.maximum(normalised(mixed, "align.1.1"), 0)
    local = np.einsum("oi,bihw->bohw", state["align.1.3.weight"][:, :, 0, 0], hidden)
    local += state["align.1.3.bias"][None, :, None, None]
    means = np.concatenate([level.numpy().mean((2, 3)) for level in levels[2:]], 1)
    gate = 1 / (1 + np.exp(-(means @ state["gate.1.weight"].T + state["gate.1.bias"])))
    wanted = levels[1].numpy() + state["strength"][1] * gate[:, :, None, None] * local
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_gradients_are_finite_for_black_chips() -> None:
    module = shaken(ContextEnhancement(16, 4)).train()
    levels = [torch.zeros_like(level, requires_grad=True) for level in pyramid()]
    sum(level.square().sum() for level in module(levels)).backward()
    assert all(level.grad is not None and level.grad.isfinite().all() for level in levels)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
