"""What the foreground mask is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.training.data.batches import Target
from pipeline.training.losses.foreground import foreground_loss, foreground_target


def target(*boxes: tuple[float, ...], ignored: tuple[tuple[float, ...], ...] = ()) -> Target:
    rows = torch.tensor(boxes, dtype=torch.float32).view(-1, 5)
    return Target(rows, torch.zeros(len(rows), dtype=torch.int64), torch.tensor(ignored).float().view(-1, 5))


def masks(fill: float | None = None, batch: int = 1, shapes: tuple[tuple[int, int], ...] = ((9, 13), (5, 7))) -> list:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, 1, *shape, generator=generator).requires_grad_()
        if fill is None
        else torch.full((batch, 1, *shape), fill)
        for shape in shapes
    ]


def test_hand_made_target_of_a_turned_ship() -> None:
    """A ship of 48 × 24 px whose long side points down the screen, centre (18, 18), cells of 4 px: σ = 8 px along and
    4 px across. Its cell is 1; two cells down is one σ (exp(-1/2)), two cells beside it two (exp(-2)); four cells down
    exp(-2)."""
    heat = foreground_target((10, 10), 4, torch.tensor([[18.0, 18, 48, 24, math.pi / 2]]))
    assert heat[4, 4] == 1
    assert float(heat[6, 4]) == pytest.approx(math.exp(-0.5), rel=1e-5)
    assert float(heat[4, 6]) == pytest.approx(math.exp(-2), rel=1e-5)
    assert float(heat[8, 4]) == pytest.approx(math.exp(-2), rel=1e-5)
    assert float(heat[6, 6]) == pytest.approx(math.exp(-2.5), rel=1e-5)


def test_a_tiny_object_between_four_cells_is_seen() -> None:
    """2 × 2 px on the corner of four cells of 4 px: its own σ of 1/3 px would leave e^-36 at their centres. Drawn as
    two cells (σ 4/3 px) each has exp(-2.25), and the one that holds its centre has 1."""
    heat = foreground_target((4, 4), 4, torch.tensor([[8.0, 8, 2, 2, 0.0]]))
    assert heat[2, 2] == 1
    assert heat[1, 1] == pytest.approx(math.exp(-2.25), rel=1e-5)
    assert heat[0, 0] < 1e-5


def test_target_is_that_of_an_independent_loop() -> None:
    """Cell by cell and box by box, in numpy, with boxes across the edges and outside."""
    random = np.random.default_rng(0)
    boxes = np.column_stack([
        random.uniform(-20, 100, (40, 2)), random.uniform(2, 40, (40, 2)), random.uniform(-2, 2, 40)
    ]).astype(np.float32)  # fmt: skip
    rows, columns, stride = 9, 13, 8
    wanted = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            for cx, cy, w, h, angle in boxes.astype(np.float64):
                dx, dy = (column + 0.5) * stride - cx, (row + 0.5) * stride - cy
                along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
                spread = (along / (max(w, 2 * stride) / 6)) ** 2 + (across / (max(h, 2 * stride) / 6)) ** 2
                holds = column * stride <= cx < (column + 1) * stride and row * stride <= cy < (row + 1) * stride
                wanted[row, column] = max(wanted[row, column], 1.0 if holds else np.exp(-spread / 2))
    found = foreground_target((rows, columns), stride, torch.tensor(boxes)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_loss_is_that_of_an_independent_computation() -> None:
    """|σ(x) - y|² · BCE(x, y), over Σ y, mean of the levels; the ignored cells counted in neither."""
    one = target((20, 16, 24, 10, 0.4), ignored=((44.0, 30.0, 16.0, 12.0, 0.0),))
    logits = masks()
    values = []
    for mask, stride in zip(logits, (4, 8), strict=True):
        x = mask.detach().numpy()[0, 0].astype(np.float64)
        y = foreground_target(x.shape, stride, one.boxes).numpy().astype(np.float64)
        p = 1 / (1 + np.exp(-x))
        cell = (p - y) ** 2 * -(y * np.log(p) + (1 - y) * np.log(1 - p))
        cx, cy = np.meshgrid((np.arange(x.shape[1]) + 0.5) * stride, (np.arange(x.shape[0]) + 0.5) * stride)
        counted = ~((np.abs(cx - 44) <= 8) & (np.abs(cy - 30) <= 6))
        assert not counted.all()
        values.append((cell * counted).sum() / (y * counted).sum())
    assert float(foreground_loss(logits, (4, 8), [one]).detach()) == pytest.approx(np.mean(values), rel=1e-5)


def test_a_mask_that_is_right_costs_less_than_one_that_is_empty_full_or_moved() -> None:
    one = target((20, 16, 24, 10, 0.4))

    def logits(of: Target) -> list[torch.Tensor]:
        heat = [foreground_target((m.shape[2], m.shape[3]), s, of.boxes) for m, s in zip(masks(), (4, 8), strict=True)]
        return [torch.logit(h, eps=1e-4)[None, None] for h in heat]

    right = float(foreground_loss(logits(one), (4, 8), [one]))
    others = [masks(-9.0), masks(9.0), logits(target((36, 16, 24, 10, 0.4))), logits(target((20, 16, 24, 10, 1.9)))]
    assert right < 0.01
    assert all(float(foreground_loss(other, (4, 8), [one])) > 0.05 for other in others)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_values_and_gradients_are_finite_for_any_number_of_objects(count: int) -> None:
    random = np.random.default_rng(count)
    boxes = np.column_stack(
        [random.uniform(0, 50, (count, 2)), random.uniform(1, 30, (count, 2)), random.uniform(-1.5, 1.5, count)]
    )
    logits = masks(batch=2)
    loss = foreground_loss(logits, (4, 8), [target(*boxes.tolist()), target()])
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert float(loss.detach()) > 0
    for mask in logits:
        assert mask.grad.isfinite().all()
        assert (mask.grad[1] != 0).any()  # a chip without objects teaches too
