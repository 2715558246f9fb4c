"""The receptive field adapter: a convolution until something bends it, an independent loop's numbers when bent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.detectors.modules.receptive_field import ReceptiveFieldAdapter


def adapter(bent: float, channels: int = 3, out_channels: int = 4) -> ReceptiveFieldAdapter:
    """One whose offsets and masks are of about ``bent``."""
    torch.manual_seed(0)
    made = ReceptiveFieldAdapter(channels, out_channels)
    with torch.no_grad():
        made.offsets.weight.normal_(std=bent)
        made.offsets.bias.normal_(std=bent)
    return made


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (5, 13), (2, 31)])
def test_a_fresh_one_is_the_plain_convolution(size: tuple[int, int]) -> None:
    fresh, features = ReceptiveFieldAdapter(3, 4), torch.randn(2, 3, *size)
    torch.testing.assert_close(fresh(features), functional.conv2d(features, fresh.weight, padding=1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(6, 6), (5, 9), (1, 4)])
def test_a_bent_one_agrees_with_a_loop_over_pixels_and_taps(size: tuple[int, int]) -> None:
    """Taps that leave the map read zeros, those between cells are interpolated."""
    bent = adapter(0.8)
    features = torch.randn(2, 3, *size, dtype=torch.float32)
    with torch.no_grad():
        found, raw = bent(features).numpy(), bent.offsets(features).double().numpy()
    assert np.abs(raw[:, :18]).max() > 1.5, "nothing is bent far enough to prove anything"
    expected = loop(features.double().numpy(), raw, bent.weight.detach().double().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(expected - functional.conv2d(features, bent.weight, padding=1).detach().numpy()).max() > 0.1


def loop(features: np.ndarray, raw: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The formula of DCNv2, one number at a time: sum over taps of weight · map(place + tap + offset) · mask."""
    batch, _, height, width = features.shape
    out = np.zeros((batch, weight.shape[0], height, width))
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                for tap in range(9):
                    at_y = y + tap // 3 - 1 + raw[b, 2 * tap, y, x]
                    at_x = x + tap % 3 - 1 + raw[b, 2 * tap + 1, y, x]
                    mask = 2 / (1 + math.exp(-raw[b, 18 + tap, y, x]))
                    out[b, :, y, x] += weight[:, :, tap // 3, tap % 3] @ bilinear(features[b], at_y, at_x) * mask
    return out


def bilinear(plane: np.ndarray, y: float, x: float) -> np.ndarray:
    """(C,) of a (C, H, W) map at a place between its cells; zero outside."""
    found = np.zeros(len(plane))
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[1] and 0 <= column < plane.shape[2]:
                found += plane[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return found


def test_offsets_and_masks_learn_from_the_first_step_on() -> None:
    """Starting at 0 is no dead point: their gradients are finite and not 0."""
    fresh = ReceptiveFieldAdapter(3, 4)
    fresh(torch.randn(1, 3, 7, 5)).square().sum().backward()
    gradient = fresh.offsets.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


def test_under_sixteen_bits_places_stay_exact() -> None:
    """bfloat16 has steps of 2 at 512 columns: a place worked out in it would read a neighbour."""
    fresh, features = ReceptiveFieldAdapter(2, 2), torch.randn(1, 2, 3, 600)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, expected = fresh(features).float(), functional.conv2d(features, fresh.weight, padding=1).float()
    assert (found - expected).abs().max() < 0.1
