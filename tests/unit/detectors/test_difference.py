"""Difference maps of chips: means over cells, whatever the chip's size; what is not finite is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.detectors.difference import difference_maps
from pipeline.errors import ModelError


def test_a_cell_is_the_mean_of_its_pixels() -> None:
    plane = torch.rand(1, 1, 32, 64)
    (found,) = difference_maps(plane, [(32, 64)])
    assert found is not None
    expected = plane[0, 0].double().view(4, 8, 8, 8).mean((1, 3))
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)


def test_the_cells_of_a_chip_of_any_size_span_it_and_know_nothing_of_the_padding() -> None:
    """12 x 20 px are 2 x 3 cells of 6 px and 6 2/3 px: a pixel on a border counts in both by its share."""
    plane = torch.full((2, 1, 32, 32), 9.0)
    chip = np.random.default_rng(0).random((12, 20))
    plane[1, 0, :12, :20] = torch.from_numpy(chip)
    _, found = difference_maps(plane, [(32, 32), (12, 20)])
    assert found is not None
    fine = chip.astype(np.float32).astype(np.float64).repeat(3, 1)  # a third of a pixel a column
    np.testing.assert_allclose(found.values, fine.reshape(2, 6, 3, 20).mean((1, 3)), rtol=1e-12)


@pytest.mark.parametrize("height", [1, 7, 8, 9])
def test_a_chip_of_hardly_any_pixels_has_a_map(height: int) -> None:
    (found,) = difference_maps(torch.full((1, 1, 32, 32), 0.25), [(height, 3)])
    assert found is not None
    np.testing.assert_allclose(found.values, np.full((-(-height // 8), 1), 0.25))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_refused_in_one_sentence(value: float) -> None:
    plane = torch.zeros(2, 1, 32, 32)
    plane[1, 0, 3, 3] = value
    with pytest.raises(ModelError, match="reconstruction holds NaN or infinity") as caught:
        difference_maps(plane, [(32, 32), (32, 32)])
    assert "\n" not in str(caught.value)


def test_without_a_reconstruction_there_is_no_map() -> None:
    assert difference_maps(None, [(32, 32), (16, 9)]) == [None, None]
