"""Noise and numbers that depend on their keys alone."""

from __future__ import annotations

import numpy as np

from pipeline.synth.noise import noise_at, noise_grid, uniform


def test_noise_of_points_is_noise_of_the_grid() -> None:
    xs, ys = np.linspace(-300, 900, 40), np.linspace(5, 777, 30)
    grid = noise_grid(3, xs, ys, 57.0)
    points = noise_at(3, *np.meshgrid(xs, ys), 57.0)
    np.testing.assert_allclose(grid, points, atol=1e-6)
    assert np.ptp(grid) > 1


def test_uniform_numbers_are_uniform_and_depend_on_every_key() -> None:
    numbers = uniform(7, np.arange(200)[:, None], np.arange(200)[None, :])
    assert abs(numbers.mean() - 0.5) < 0.01
    assert abs(numbers.std() - 12**-0.5) < 0.01
    assert len(np.unique(numbers)) == 40_000
    assert uniform(7, 1, 2) != uniform(7, 2, 1)
    assert uniform(8, 1, 2) != uniform(7, 1, 2)
