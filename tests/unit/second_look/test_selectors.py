"""What each selector goes by, seen in the crops that are chosen by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import RefineConfig
from pipeline.second_look.choice import choose_crops
from pipeline.second_look.entropy import measured_windows
from pipeline.second_look.selectors import gain_of
from pipeline.second_look.windows import candidate_windows
from pipeline.types import Window
from tests.support.glances import SCALES, TILE, blob, found, glance


@pytest.mark.parametrize("selector", ["density", "small_box_density", "ours"])
def test_nothing_is_spent_on_empty_sea(selector: str) -> None:
    """All crops of the block go to the one tile in which something was seen."""
    sea, port = Window(x=0, y=0, width=256, height=256), Window(x=256, y=0, width=256, height=256)
    seen = found([[300.0, 60, 20, 8, 0.1]], [0.4])
    config = RefineConfig(selector=selector, budget=1.0)  # type: ignore[arg-type]
    crops = choose_crops([glance(tile=sea), glance(tile=port, detections=seen)], gain_of(config), config)
    assert crops
    assert {crop.row for crop in crops} == {1}


def test_attention_leads_the_paper_s_score_to_the_spot() -> None:
    config = RefineConfig(selector="intensity", budget=0.3, scales=(0.5,))
    (crop,) = choose_crops([glance(blob())], gain_of(config), config)
    assert (crop.window.x, crop.window.x1) >= (100 + 128, 100 + 192)
    assert crop.window.y <= 50 + 3 * 16 < crop.window.y1


def test_uniform_spreads_the_first_crops_over_the_tile() -> None:
    config = RefineConfig(selector="uniform", budget=1.0, zoom=2.0)
    crops = choose_crops([glance()], gain_of(config), config)
    assert len(crops) == 4
    assert len({(crop.window.x > 200, crop.window.y > 150) for crop in crops}) == 4
    two = crops[:2]
    assert two[0].window.x != two[1].window.x
    assert two[0].window.y != two[1].window.y


def test_uniform_starts_elsewhere_in_every_tile() -> None:
    config = RefineConfig(selector="uniform", budget=0.25, zoom=2.0)
    tiles = [Window(x=64 * n, y=0, width=256, height=256) for n in range(4)]
    places = set()
    for tile in tiles:
        (crop,) = choose_crops([glance(tile=tile)], gain_of(config), config)
        places.add((crop.window.x - tile.x, crop.window.y - tile.y))
    assert len(places) == 4


def test_random_changes_with_its_seed_only() -> None:
    def chosen(seed: int) -> list[Window]:
        config = RefineConfig(selector="random", budget=0.5, seed=seed)
        return [crop.window for crop in choose_crops([glance()], gain_of(config), config)]

    assert chosen(1) == chosen(1)
    assert len({tuple((w.x, w.y) for w in chosen(seed)) for seed in range(8)}) > 4


def test_ours_counts_what_a_crop_would_show_whole() -> None:
    """The window in the middle holds both centres and would cut both; the one on the left shows the better whole."""
    seen = found([[132.0, 80, 24, 10, 0], [186, 80, 24, 10, 0]], [0.5, 0.4])
    config = RefineConfig(selector="ours", budget=0.25, zoom=2.0)
    (crop,) = choose_crops([glance(detections=seen)], gain_of(config), config)
    assert (crop.window.x, crop.window.x1) == (100, 164)
    middle = replace(config, selector="density")
    (crop,) = choose_crops([glance(detections=seen)], gain_of(middle), middle)
    assert (crop.window.x, crop.window.x1) == (132, 196)


def test_the_scale_trap_is_closed() -> None:
    """Ranked within a scale, large windows can win too: attention spread over a quarter of the tile."""
    mass = np.full((16, 16), 0.01)
    mass[:8, :8] = 1.0
    mass[3, 3] = 1.2
    windows = measured_windows(glance(mass), candidate_windows(TILE, SCALES))
    large = windows.boxes[:, 2] - windows.boxes[:, 0] == 128
    raw = windows.intensity * windows.entropy
    assert raw[~large].max() > raw[large].max(), "the trap: by the paper's score as it stands the smallest scale wins"
    gains = gain_of(RefineConfig(selector="sae"))([glance(mass)], [windows])
    assert gains[large].max() > gains[~large].max()


@pytest.mark.parametrize("selector", ["sae", "intensity", "entropy"])
def test_attention_compares_tiles_of_one_block(selector: str) -> None:
    """One tile with a bright half, three that are even: all crops go to the one, not some to the best of each."""
    mass = np.full((16, 16), 1.0)
    if selector == "entropy":
        mass[::2] = 0.001  # even rows are dark: uneven everywhere but in the one tile
    bright = np.full((16, 16), 1.0) if selector == "entropy" else mass.copy()
    bright[:8] = 1.0 if selector == "entropy" else 9.0
    tiles = [Window(x=x, y=0, width=256, height=256) for x in (0, 256, 512, 768)]
    glances = [glance(bright if tile.x == 512 else mass, tile=tile) for tile in tiles]
    config = RefineConfig(selector=selector, budget=0.125)  # type: ignore[arg-type]
    assert {crop.row for crop in choose_crops(glances, gain_of(config), config)} == {2}


def test_the_difference_map_leads_to_what_could_not_be_drawn_though_nothing_was_seen_there() -> None:
    """No detections, and attention that looks elsewhere."""
    config = RefineConfig(selector="difference", budget=0.3, scales=(0.5,))
    (crop,) = choose_crops([glance(blob(y=14, x=1), difference=blob())], gain_of(config), config)
    assert (crop.window.x, crop.window.x1) >= (100 + 128, 100 + 192)
    assert crop.window.y <= 50 + 3 * 16 < crop.window.y1
    assert crop.entropy == pytest.approx(1), "the entropy is the attention's, as for every selector: flat there"


def test_gains_of_a_difference_map_made_by_hand() -> None:
    """4 x 4 cells over 256 px: windows of 128 px hold 4 cells each, their means are ranked as z-scores."""
    tile = Window(x=10, y=20, width=256, height=256)
    values = np.array([[0.1, 0.1, 0.0, 0.0], [0.1, 0.1, 0.0, 0.0], [0.0, 0.0, 0.3, 0.5], [0.0, 0.0, 0.5, 0.7]])
    boxes = np.array([[10, 20, 138, 148], [138, 20, 266, 148], [10, 148, 138, 276], [138, 148, 266, 276]])
    drawn = glance(tile=tile, difference=values)
    windows = measured_windows(drawn, boxes)
    means = np.array([0.1, 0.0, 0.0, 0.5])
    gains = gain_of(RefineConfig(selector="difference"))([drawn], [windows])
    np.testing.assert_allclose(gains, np.exp((means - means.mean()) / means.std()))


def test_difference_compares_tiles_of_one_block() -> None:
    """One pixel in eight hardly drawn in three tiles, all of them badly in one: all crops go there."""
    calm, rough = np.full((16, 16), 0.01), np.full((16, 16), 0.04)
    calm[::8] = 0.02
    tiles = [Window(x=x, y=0, width=256, height=256) for x in (0, 256, 512, 768)]
    glances = [glance(tile=tile, difference=rough if tile.x == 512 else calm) for tile in tiles]
    config = RefineConfig(selector="difference", budget=0.125)
    assert {crop.row for crop in choose_crops(glances, gain_of(config), config)} == {2}


def test_even_attention_ranks_nothing() -> None:
    """Rounding noise of a flat map is no reason: all windows gain alike."""
    flat = glance(np.full((16, 16), 1 / 3))
    gains = gain_of(RefineConfig(selector="sae"))([flat], [measured_windows(flat, candidate_windows(TILE, SCALES))])
    assert np.ptp(gains) == 0
