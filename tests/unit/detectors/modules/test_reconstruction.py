"""SR-TOD's reconstruction: the head against a recomputation pixel by pixel, the difference map against a hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.detectors.modules.reconstruction import Doubling, Original, ReconstructionHead, difference_map
from pipeline.types import FloatArray

EVEN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Mean and deviation that change nothing."""


def test_the_original_is_the_chip_without_its_normalisation() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5)).float() / 255
    mean, std = (0.485, 0.456, 0.25), (0.229, 0.224, 128 / 255)
    normalised = (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    original = Original.of(normalised, mean, std)
    torch.testing.assert_close(original.pixels, pixels, atol=1e-6, rtol=0)
    assert original.shown.all()


def test_what_lies_below_and_to_the_right_of_a_chip_is_padding() -> None:
    shown = Original.of(torch.zeros(2, 3, 4, 5), *EVEN, [(4, 5), (2, 3)]).shown
    assert shown[0].all()
    assert shown[1, 0].tolist() == [[True] * 3 + [False] * 2] * 2 + [[False] * 5] * 2


def test_a_size_for_every_chip_or_none_at_all() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Original.of(torch.zeros(2, 3, 4, 4), *EVEN, [(4, 4)])


def test_the_difference_map_of_a_hand_made_case() -> None:
    """Two pixels of three bands: |0.5 - 0.2|, |0.5 - 0.5|, |0.5 - 1| have the mean 4/15; the padding has none."""
    real = torch.tensor([[0.2, 0.9], [0.5, 0.9], [1.0, 0.9]]).view(1, 3, 1, 2)
    shown = torch.tensor([True, False]).view(1, 1, 1, 2)
    found = difference_map(torch.full((1, 3, 1, 2), 0.5), Original(real, shown))
    assert found.shape == (1, 1, 1, 2)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.8 / 3, 0.0]))


def test_nan_in_a_reconstruction_is_nan_in_the_map() -> None:
    """It must not be lost on the way to whoever refuses it."""
    drawn = torch.full((1, 3, 2, 2), 0.5)
    drawn[0, 1, 0, 1] = torch.nan
    found = difference_map(drawn, Original.of(torch.zeros(1, 3, 2, 2), *EVEN))
    assert found.isnan().flatten().tolist() == [False, True, False, False]


def convolved(x: FloatArray, weight: FloatArray, bias: FloatArray | float = 0.0) -> FloatArray:
    """3 × 3 convolution of (C, H, W), written as loops."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(weight), *x.shape[1:]))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            out[:, row, column] = np.einsum("ochw,chw->o", weight, padded[:, row : row + 3, column : column + 3])
    return out + np.reshape(bias, (-1, 1, 1))


def enlarged(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Transposed convolution, kernel 4, stride 2, padding 1: every pixel stamps the kernel onto the doubled plane."""
    _, rows, columns = x.shape
    plane = np.zeros((weight.shape[1], 2 * rows + 2, 2 * columns + 2))
    for row in range(rows):
        for column in range(columns):
            stamp = np.einsum("i,iohw->ohw", x[:, row, column], weight)
            plane[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += stamp
    return np.asarray(plane[:, 1:-1, 1:-1] + bias[:, None, None])


def test_the_head_is_what_loops_over_pixels_give() -> None:
    torch.manual_seed(0)
    head = ReconstructionHead(8, 3).double()
    features = torch.randn(1, 8, 3, 2, dtype=torch.float64)
    x = features[0].numpy()
    for doubling in head.doublings:
        assert isinstance(doubling, Doubling)
        state = {name: value.numpy() for name, value in doubling.state_dict().items()}
        x = enlarged(x, state["enlarge.weight"], state["enlarge.bias"])
        for number in (0, 2):
            x = np.maximum(convolved(x, state[f"refine.{number}.weight"]), 0)
    last = {name: value.numpy() for name, value in head.picture.state_dict().items()}
    expected = 1 / (1 + np.exp(-convolved(x, last["weight"], last["bias"])))
    with torch.no_grad():
        found = head(features)
    assert found.shape == (1, 3, 12, 8)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-6)


def test_channels_are_halved_twice_as_in_the_paper() -> None:
    """256 → 128 → 64 → 3 of the official code; convolutions of a doubling have no bias."""
    shapes = {name: tuple(value.shape) for name, value in ReconstructionHead(256, 3).state_dict().items()}
    assert shapes == {
        "doublings.0.enlarge.weight": (256, 128, 4, 4), "doublings.0.enlarge.bias": (128,),
        "doublings.0.refine.0.weight": (128, 128, 3, 3), "doublings.0.refine.2.weight": (128, 128, 3, 3),
        "doublings.1.enlarge.weight": (128, 64, 4, 4), "doublings.1.enlarge.bias": (64,),
        "doublings.1.refine.0.weight": (64, 64, 3, 3), "doublings.1.refine.2.weight": (64, 64, 3, 3),
        "picture.weight": (3, 64, 3, 3), "picture.bias": (3,),
    }  # fmt: skip


def test_a_fresh_head_draws_grey_and_learns_a_picture() -> None:
    """Features that hold the picture, shrunk fourfold: the loss falls far below that of an even grey."""
    torch.manual_seed(0)
    head = ReconstructionHead(48, 3)
    head.initialise()
    real = torch.rand(1, 3, 16, 16)
    features = torch.nn.functional.pixel_unshuffle(real, 4)
    with torch.no_grad():
        assert (head(features) - 0.5).abs().max() < 0.1
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    for _ in range(300):
        loss = (head(features) - real).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.25 * float((real - 0.5).square().mean())
