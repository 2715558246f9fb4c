"""Rounding and order of rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.outputs.rows import hilbert_index, round_bits
from pipeline.outputs.wkb import polygon_corners
from tests.support.outputs import sample


@given(gsd_m=st.floats(0.005, 1000), seed=st.integers(0, 50))
@settings(max_examples=40)
def test_written_geometry_is_within_a_thousandth_of_a_pixel(gsd_m: float, seed: int) -> None:
    s = sample(20, seed=seed, gsd_m=gsd_m)
    table = s.table()
    px = np.column_stack([table[name].to_numpy() for name in ("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad")])
    order = np.abs(px[:, None, :2] - s.px_boxes[None, :, :2]).sum(axis=-1).argmin(axis=1)
    assert np.abs(px - s.px_boxes[order]).max() < 1.3e-4
    error = np.abs(polygon_corners(table).mean(axis=1) - s.corners_world[order].mean(axis=1)).max()
    assert error < 1.3e-4 * gsd_m
    error = np.abs(np.sort(polygon_corners(table), axis=1) - np.sort(s.corners_world[order], axis=1)).max()
    assert error < 1.3e-4 * gsd_m


@given(arrays(np.float64, 50, elements=st.floats(-1e7, 1e7)), st.integers(5, 40))
def test_rounding_keeps_the_promised_bits(values: np.ndarray, bits: int) -> None:
    assert (np.abs(round_bits(values, bits) - values) <= np.abs(values) * 2.0**-bits).all()


def test_the_hilbert_curve_visits_every_cell_once_in_steps_of_one() -> None:
    """What makes a Hilbert curve: consecutive cells are neighbours. Checked on all 4,096 cells of a 64 x 64 grid."""
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).reshape(-1, 2).astype(float)
    index = hilbert_index(grid * (1 + 1 / 63), order=6)
    assert sorted(index.tolist()) == list(range(4096))
    steps = np.abs(np.diff(grid[np.argsort(index)], axis=0)).sum(axis=1)
    assert (steps == 1).all()
