"""The second look's arithmetic: windows, entropy, choice under a budget, fusion."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RefineConfig
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.second_look.choice import choose_crops
from pipeline.second_look.entropy import measure, spatial_attention_entropy
from pipeline.second_look.fusion import CROP, FUSED, GLOBAL, crop_boxes, fuse
from pipeline.second_look.selectors import gain_of
from pipeline.second_look.windows import Glance, candidate_windows
from pipeline.types import AttentionMap, Crop, Detections, FloatArray, Frame, Window

TILE = Window(x=100, y=50, width=256, height=256)
SCALES = (0.25, 0.5)
SELECTORS = ("sae", "intensity", "entropy", "density", "small_box_density", "random", "uniform", "ours")
LATTICE = Window(x=0, y=0, width=10_000, height=10_000)


def found(boxes: list[list[float]], scores: list[float], **columns: object) -> Detections:
    n = len(boxes)
    return Detections(np.array(boxes, np.float64).reshape(n, 5), np.array(scores), np.zeros(n, np.int64),
                      Frame.LATTICE, **columns)  # type: ignore[arg-type]  # fmt: skip


def glance(
    mass: FloatArray | None = None, detections: Detections | None = None, tile: Window = TILE, factor: float = 2.0
) -> Glance:
    attention = None if mass is None else AttentionMap(mass / max(mass.sum(), 1e-12))
    return Glance(
        tile=tile, factor=factor, attention=attention, detections=detections or Detections.empty(Frame.LATTICE)
    )


def blob(rows: int = 16, columns: int = 16, y: int = 3, x: int = 12) -> FloatArray:
    mass = np.full((rows, columns), 0.01)
    mass[y, x] = 5.0
    return mass


@given(
    width=st.integers(64, 700),
    height=st.integers(64, 700),
    scales=st.lists(st.sampled_from((0.2, 0.25, 0.4, 0.5, 0.75, 1.0)), min_size=1, max_size=3, unique=True),
)
def test_windows_cover_the_tile_and_stay_inside(width: int, height: int, scales: list[float]) -> None:
    """Of every scale: inside the tile, no gaps, neighbours overlapping by about half."""
    tile = Window(x=17, y=900, width=width, height=height)
    for scale in scales:
        boxes = candidate_windows(tile, (scale,))
        if min(width, height) * scale < 32 - 1e-6:
            assert len(boxes) == 0
            continue
        assert boxes[:, :2].min(axis=0).tolist() == [tile.x, tile.y]
        assert boxes[:, 2:].max(axis=0).tolist() == [tile.x1, tile.y1]
        covered = np.zeros((height, width), np.bool_)
        for x, y, x1, y1 in boxes - [tile.x, tile.y, tile.x, tile.y]:
            covered[y:y1, x:x1] = True
        assert covered.all()
        assert len({tuple(box) for box in boxes}) == len(boxes)


@given(st.integers(0, 10_000))
def test_every_window_measures_as_if_it_were_cut_out(seed: int) -> None:
    """Integral images against the definition on the cut-out map: mean, and -sum p log p / log n."""
    random = np.random.default_rng(seed)
    mass = random.gamma(0.3, size=(16, 16))
    boxes = candidate_windows(TILE, SCALES)
    windows = measure(glance(mass), boxes)
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
    windows = measure(glance(blob()), candidate_windows(TILE, (0.25,)))
    spot = (windows.boxes[:, 0] <= 100 + 200) & (windows.boxes[:, 2] > 100 + 200)
    spot &= (windows.boxes[:, 1] <= 50 + 56) & (windows.boxes[:, 3] > 50 + 56)
    assert windows.entropy[~spot].min() > windows.entropy[spot].max()
    assert windows.intensity[spot].min() > windows.intensity[~spot].max()


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
        glances.append(glance(random.gamma(0.3, size=(16, 16)), seen, tile))
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


def test_no_budget_no_tiles_or_tiles_too_small_mean_no_crops() -> None:
    config = RefineConfig(selector="uniform", budget=0.0)
    assert choose_crops([glance()], gain_of(config), config) == []
    config = RefineConfig(selector="uniform", budget=5.0)
    assert choose_crops([], gain_of(config), config) == []
    assert choose_crops([glance(tile=Window(x=0, y=0, width=50, height=50))], gain_of(config), config) == []


def test_a_budget_larger_than_all_windows_takes_what_there_is() -> None:
    config = RefineConfig(selector="uniform", budget=16.0, scales=(1.0,), zoom=2.0)
    assert len(choose_crops([glance()], gain_of(config), config)) == 4


def test_ours_counts_what_a_crop_would_show_whole() -> None:
    """The window in the middle holds both centres and would cut both; the one on the left shows the better whole."""
    seen = found([[132.0, 80, 24, 10, 0], [186, 80, 24, 10, 0]], [0.5, 0.4])
    config = RefineConfig(selector="ours", budget=0.25, zoom=2.0)
    (crop,) = choose_crops([glance(detections=seen)], gain_of(config), config)
    assert (crop.window.x, crop.window.x1) == (100, 164)
    middle = replace(config, selector="density")
    (crop,) = choose_crops([glance(detections=seen)], gain_of(middle), middle)
    assert (crop.window.x, crop.window.x1) == (132, 196)


def crop_at(x: int, y: int, side: int = 128) -> Crop:
    return Crop(window=Window(x=x, y=y, width=side, height=side), row=0, entropy=0.8)


def test_boxes_that_a_crop_cuts_are_left_to_the_global_look_but_not_at_the_end_of_the_scene() -> None:
    boxes = found([[1064.0, 1064, 30, 10, 0], [1012, 1064, 30, 10, 0], [1064, 1064, 90, 80, 0]], [0.9, 0.9, 0.9])
    inner = crop_boxes(boxes, crop_at(1000, 1000), LATTICE)
    assert inner.boxes[:, 0].tolist() == [1064], "cut on the left; and one too large for the crop"
    first = crop_boxes(boxes, crop_at(1000, 1000), Window(x=1000, y=1000, width=500, height=500))
    assert first.boxes[:, 0].tolist() == [1064, 1012]
    assert set(first.stage) == {CROP}
    assert set(first.entropy) == {0.8}


def test_both_looks_at_one_object_become_one_box() -> None:
    """The crop's box, the better score; another class and a distant box stay apart."""
    seen = found([[100.0, 100, 30, 10, 0.0], [300, 300, 30, 10, 0]], [0.4, 0.6])
    crop = crop_boxes(found([[101.0, 100, 28, 10, 0.05], [140, 100, 20, 8, 0]], [0.7, 0.5]), crop_at(60, 60), LATTICE)
    both = fuse(seen, [crop], RefineConfig(selector="ours"))
    rows = {
        tuple(box[:2]): (score, stage) for box, score, stage in zip(both.boxes, both.scores, both.stage, strict=True)
    }
    assert rows == {(101.0, 100.0): (0.7, FUSED), (140.0, 100.0): (0.5, CROP), (300.0, 300.0): (0.6, GLOBAL)}
    assert both.n_merged.sum() == 4


def test_the_paper_s_scores() -> None:
    """0.7 of the global and 0.3 of the crop's, which is boosted by 1 + 0.2 (SAE - 0.7) first."""
    seen = found([[100.0, 100, 30, 10, 0.0]], [0.4])
    crop = crop_boxes(found([[100.0, 100, 30, 10, 0.0], [140, 100, 20, 8, 0]], [0.8, 0.5]), crop_at(60, 60), LATTICE)
    both = fuse(seen, [crop], RefineConfig(selector="sae", score_rule="published"))
    assert sorted(both.scores) == pytest.approx([0.5 * 1.02, 0.7 * 0.4 + 0.3 * 0.8 * 1.02])


@given(st.integers(0, 10_000))
def test_fusion_pairs_one_to_one_and_loses_nothing(seed: int) -> None:
    """Every box goes in once: the looks that the fused boxes stand for add up."""
    random = np.random.default_rng(seed)
    base = np.column_stack([random.uniform(0, 200, (12, 2)), random.uniform(12, 30, 12), random.uniform(4, 12, 12),
                            random.uniform(-1.5, 1.5, 12)])  # fmt: skip
    moved = base + random.normal(0, 1.0, base.shape) * [1, 1, 0.5, 0.3, 0.05]
    seen, crop = found(base.tolist(), random.random(12).tolist()), found(moved.tolist(), random.random(12).tolist())
    both = fuse(seen, [crop], RefineConfig(selector="ours"))
    assert both.n_merged.sum() == 24
    fused = both[both.stage == FUSED]
    assert len(both) == 24 - len(fused)
    for box, score in zip(fused.boxes, fused.scores, strict=True):
        iou = rotated_iou_pairs(seen.boxes, np.repeat(box[None], 12, 0))
        partners = np.flatnonzero(iou >= 0.4)
        assert len(partners) >= 1
        assert score >= min(seen.scores[partners])


def test_other_classes_are_never_paired() -> None:
    seen = found([[100.0, 100, 30, 10, 0.0]], [0.4])
    other = Detections(seen.boxes, np.array([0.9]), np.array([1]), Frame.LATTICE)
    assert len(fuse(seen, [other], RefineConfig(selector="ours"))) == 2


def test_the_scale_trap_is_closed() -> None:
    """Ranked within a scale, large windows can win too: attention spread over a quarter of the tile."""
    mass = np.full((16, 16), 0.01)
    mass[:8, :8] = 1.0
    mass[3, 3] = 1.2
    windows = measure(glance(mass), candidate_windows(TILE, SCALES))
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


def test_even_attention_ranks_nothing() -> None:
    """Rounding noise of a flat map is no reason: all windows gain alike."""
    flat = glance(np.full((16, 16), 1 / 3))
    gains = gain_of(RefineConfig(selector="sae"))([flat], [measure(flat, candidate_windows(TILE, SCALES))])
    assert np.ptp(gains) == 0


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
