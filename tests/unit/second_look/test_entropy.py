"""Entropy and intensity of windows: from integral images as from the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.second_look.entropy import measured_windows, spatial_attention_entropy
from pipeline.second_look.windows import candidate_windows
from pipeline.types import AttentionMap
from tests.support.glances import SCALES, TILE, blob, glance


@given(st.integers(0, 10_000))
def test_every_window_measures_as_if_it_were_cut_out(seed: int) -> None:
    """Integral images against the definition on the cut-out map: mean, and -sum p log p / log n."""
    random = np.random.default_rng(seed)
    mass = random.gamma(0.3, size=(16, 16))
    boxes = candidate_windows(TILE, SCALES)
    windows = measured_windows(glance(mass), boxes)
    density = mass / mass.mean() + 1e-6
    for box, intensity, entropy in zip(boxes, windows.intensity, windows.entropy, strict=True):
        x, y, x1, y1 = np.rint((box - [TILE.x, TILE.y, TILE.x, TILE.y]) / 16).astype(int)
        part = density[y:y1, x:x1]
        p = part / part.sum()
        assert intensity == pytest.approx(part.mean(), rel=1e-9)
        assert entropy == pytest.approx(-(p * np.log(p)).sum() / np.log(p.size), abs=1e-8)


def test_entropy_is_one_when_flat_and_almost_nothing_when_one_cell_has_it_all() -> None:
    assert spatial_attention_entropy(AttentionMap(np.ones((20, 20)))) == pytest.approx(1)
    one = np.zeros((20, 20))
    one[3, 4] = 1
    assert spatial_attention_entropy(AttentionMap(one)) < 1e-3


def test_flat_empty_window_has_the_largest_entropy_and_the_least_intensity() -> None:
    """The trap of the method: entropy alone loves empty sea."""
    windows = measured_windows(glance(blob()), candidate_windows(TILE, (0.25,)))
    spot = (windows.boxes[:, 0] <= 100 + 200) & (windows.boxes[:, 2] > 100 + 200)
    spot &= (windows.boxes[:, 1] <= 50 + 56) & (windows.boxes[:, 3] > 50 + 56)
    assert windows.entropy[~spot].min() > windows.entropy[spot].max()
    assert windows.intensity[spot].min() > windows.intensity[~spot].max()
