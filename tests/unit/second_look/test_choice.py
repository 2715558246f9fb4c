"""The crops of one block: under a budget, apart from each other, and only where there is something to see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RefineConfig
from pipeline.second_look.choice import choose_crops
from pipeline.second_look.entropy import spatial_attention_entropy
from pipeline.second_look.selectors import gain_of
from pipeline.types import AttentionMap, Window
from tests.support.glances import blob, found, glance

SELECTORS = ("sae", "intensity", "entropy", "difference", "density", "small_box_density", "random", "uniform", "ours")


@pytest.mark.parametrize("selector", SELECTORS)
@given(seed=st.integers(0, 1000), budget=st.floats(0, 2))
def test_the_budget_holds_and_windows_keep_apart(selector: str, seed: int, budget: float) -> None:
    random = np.random.default_rng(seed)
    tiles = [Window(x=256 * k, y=0, width=256, height=256) for k in range(3)]
    glances = []
    for tile in tiles:
        boxes = np.column_stack([random.uniform(tile.x, tile.x1, 9), random.uniform(0, 256, 9), np.full(9, 20.0),
                                 np.full(9, 8.0), np.zeros(9)])  # fmt: skip
        seen = found(boxes.tolist(), random.uniform(0.05, 0.9, 9).tolist())
        drawn = random.beta(1, 9, size=(16, 16))
        glances.append(glance(random.gamma(0.3, size=(16, 16)), seen, tile, difference=drawn))
    config = RefineConfig(selector=selector, budget=budget)  # type: ignore[arg-type]
    crops = choose_crops(glances, gain_of(config), config)
    factor = config.crop_factor(2.0)
    shown = [(round(crop.window.width / factor), round(crop.window.height / factor)) for crop in crops]
    assert sum(width * height for width, height in shown) <= budget * 3 * 128 * 128 + 1e-6
    assert crops == choose_crops(glances, gain_of(config), config)
    for crop in crops:
        assert glances[crop.row].tile.contains(crop.window)
    for a, b in itertools.combinations(crops, 2):
        common = a.window.intersect(b.window)
        if common is not None:
            assert common.pixels <= 0.6 * min(a.window.pixels, b.window.pixels)


def test_no_budget_no_tiles_or_tiles_too_small_mean_no_crops() -> None:
    config = RefineConfig(selector="uniform", budget=0.0)
    assert choose_crops([glance()], gain_of(config), config) == []
    config = RefineConfig(selector="uniform", budget=5.0)
    assert choose_crops([], gain_of(config), config) == []
    assert choose_crops([glance(tile=Window(x=0, y=0, width=50, height=50))], gain_of(config), config) == []


def test_a_budget_larger_than_all_windows_takes_what_there_is() -> None:
    config = RefineConfig(selector="uniform", budget=16.0, scales=(1.0,), zoom=2.0)
    assert len(choose_crops([glance()], gain_of(config), config)) == 4


def test_the_papers_gate_skips_tiles_that_look_at_one_thing() -> None:
    config = RefineConfig(selector="intensity", gate=0.7)
    assert spatial_attention_entropy(AttentionMap(blob() / blob().sum())) < 0.7
    assert choose_crops([glance(blob())], gain_of(config), config) == []
    broad = np.full((16, 16), 1.0)
    broad[:8] = 9.0
    assert choose_crops([glance(broad)], gain_of(config), config)


def test_windows_without_a_valid_pixel_cost_nothing() -> None:
    config = RefineConfig(selector="uniform", budget=0.25)
    (first,) = choose_crops([glance()], gain_of(config), config)
    (crop,) = choose_crops([glance()], gain_of(config), config, visible=lambda window: window != first.window)
    assert crop.window != first.window


@given(
    width=st.integers(256, 1500),
    height=st.integers(256, 1500),
    factor=st.sampled_from((1.5, 2.0, 2.2, 4.0)),
    zoom=st.sampled_from((1.1, 1.4, 2.0, 8.0)),
)
def test_a_budget_that_pays_for_one_crop_buys_it(width: int, height: int, factor: float, zoom: float) -> None:
    """Whatever the size of the tile rounds to."""
    config = RefineConfig(selector="uniform", budget=0.25, zoom=zoom)
    tile = Window(x=7, y=0, width=width, height=height)
    assert len(choose_crops([glance(tile=tile, factor=factor)], gain_of(config), config)) == 1
