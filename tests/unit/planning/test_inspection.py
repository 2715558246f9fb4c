"""The dry run's figures come from the plan, and every warning appears exactly when its cause does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyproj import CRS

from pipeline.config import DetectorConfig, RasterConfig, RefineConfig, RunConfig, TilingConfig
from pipeline.detectors.weights import model_card
from pipeline.georeference.georeference import Georeference
from pipeline.planning.blocks import plan_blocks
from pipeline.planning.inspection import Inspection, Pace, inspect
from pipeline.planning.inspection_text import render_text
from pipeline.planning.lattice import make_lattice
from pipeline.planning.plan import ScenePlan
from pipeline.planning.tiles import plan_tiles
from pipeline.runs.dry_run import CLUSTER_S, PROCESS_S, measured_pace
from pipeline.types import ModelCard, Scene

CARD = ModelCard(
    name="ships", classes=("ship",), gsd_m=10.0, bands=("red", "green", "blue"), input_px=320, sha256="0" * 64,
    longest_object_m=400.0,
)  # fmt: skip
SCENE = Scene(
    scene_id="harbour", uris=("harbour.tif",), width=5000, height=4000, bands=(3, 2, 1), band_count=4, dtype="uint16",
    driver="GTiff", crs_wkt=CRS("EPSG:32633").to_wkt(), transform=(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0),
    nodata=0.0, block_width=256, block_height=256, overviews=(2, 4),
)  # fmt: skip


def look(
    card: ModelCard = CARD, *, config: RunConfig | None = None, gsd: str = "model", halo_px: int = 44,
    block_mpx: float = 24.0, workers: int = 1, start_s: float = 0.0, tile_px: int = 512, **changes: Any,
) -> Inspection:  # fmt: skip
    scene = replace(SCENE, **changes)
    place = Georeference.of(scene)
    lattice = make_lattice(scene, gsd, card.gsd_m, place.ground_gsd() if place else None)
    tiles = plan_tiles(lattice, tile_px, halo_px)
    blocks = plan_blocks(tiles, scene, lattice, block_mpx)
    plan = ScenePlan(
        scene=scene, georeference=place, lattice=lattice, tile_px=tile_px, halo_px=halo_px, tiles=tiles, blocks=blocks,
        tiles_outside_aoi=2, area=None,
    )  # fmt: skip
    pace = Pace(seconds_per_tile=0.5, workers=workers, start_s=start_s, source="measured")
    return inspect(plan, card, config or RunConfig(), pace)


def test_four_looks_are_told_and_timed_as_such() -> None:
    """The pace is measured with them, so the estimate holds all four."""
    assert "each chip four times" not in look().looks
    assert "each chip four times" in look(config=RunConfig(detector=DetectorConfig(flips=True))).looks
    card, tiling = model_card("builtin:ships-s2"), TilingConfig(tile_px=256)
    paces = [
        min(measured_pace(RunConfig(tiling=tiling, detector=DetectorConfig(flips=flips)), card).seconds_per_tile
            for _ in range(3))
        for flips in (False, True)
    ]  # fmt: skip
    assert paces[1] > 2 * paces[0]


def test_figures_are_those_of_the_plan() -> None:
    seen = look()
    assert (seen.tiles, seen.resampling, seen.tiles_outside_aoi) == (11 * 9, (1.0, 1.0), 2)
    assert seen.decoded_bytes == seen.decoded_px * 3 * 2
    assert seen.amplification == seen.decoded_px / (5000 * 4000)
    assert 1 < seen.amplification <= 1.3
    assert seen.estimated_s == pytest.approx(99 * 0.5)
    assert look(workers=3).estimated_s == pytest.approx(99 * 0.5 / 3)


def test_the_estimate_includes_the_start_however_many_workers_there_are() -> None:
    seen = look(workers=3, start_s=12.0)
    assert seen.estimated_s == pytest.approx(12 + 99 * 0.5 / 3)
    assert "28 s, 12 s of them to start, at 0.5 s per tile (measured), 3 worker(s)" in render_text(seen)


def test_the_start_is_measured_with_the_detector() -> None:
    """A scene of one tile is not promised in the time of one tile: libraries and weights are loaded first."""
    card = model_card("builtin:ships-s2")
    local = measured_pace(RunConfig(executor="local"), card)
    assert local.start_s > PROCESS_S
    assert measured_pace(RunConfig(), card).start_s > PROCESS_S + CLUSTER_S


def test_a_band_that_stands_for_three_channels_is_decoded_once() -> None:
    assert look(bands=(1, 1, 1)).decoded_bytes * 3 == look().decoded_bytes


def test_a_file_in_small_tiles_is_not_advised_to_become_one() -> None:
    (sentence,) = (said for said in look(block_mpx=0.3).warnings if "decoded" in said)
    assert "block_mpx" in sentence
    assert "COG" not in sentence


def test_a_well_made_scene_gets_no_warning() -> None:
    assert look().warnings == ()


def test_the_text_says_everything_once() -> None:
    text = render_text(look())
    for said in (
        "harbour.tif", "5,000 x 4,000 px = 20.0 Mpx, GTiff", "uint16, bands 3, 2, 1 of 4",
        "WGS 84 / UTM zone 33N (EPSG:32633)",
        "10 x 10 m", "nodata", "tiles of 256 x 256 px", "1/2, 1/4", "99 of 512 px, halo 44 px", "2 more outside",
        "MB uncompressed", "ships, 10 m, ship; bands red, green, blue", "50 s at 0.5 s per tile (measured)",
    ):  # fmt: skip
        assert text.count(said) == 1, said
    assert "warning" not in text


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("no overviews on 400 Mpx", {"width": 20_000, "height": 20_000, "overviews": ()}),
        ("decoded in units of 5000 x 4000 px", {"block_width": 5000, "block_height": 4000}),
        ("PNG can only be read from the top", {"driver": "PNG", "width": 20_000, "height": 20_000}),
        ("1 band(s) are read but the model knows 3", {"bands": (1,)}),
        ("repeat one another", {"bands": (1, 1, 1)}),
        ("uint16 pixels without a stretch", {"config": RunConfig(raster=RasterConfig(stretch="none"))}),
        ("no georeference", {"crs_wkt": None, "transform": None}),
        ("scene pixels become one", {"transform": (1.0, 0.0, 5e5, 0.0, -1.0, 5e6)}),
        ("magnified 3", {"transform": (30.0, 0.0, 5e5, 0.0, -30.0, 5e6), "width": 500, "height": 500}),
        ("30 m pixels but the model was trained at 10 m", {
            "transform": (30.0, 0.0, 5e5, 0.0, -30.0, 5e6), "gsd": "native",
        }),
        ("does not say its GSD", {"card": replace(CARD, gsd_m=None)}),
        ("halo of 20 px is 200 m, but objects may be 400 m", {"halo_px": 20}),
        ("only 200 x 100 px of a tile of 512 px", {"width": 200, "height": 100}),
        ("block_mpx to 52", {"width": 100_000, "block_width": 100_000, "block_height": 1}),
        ("gdal_translate -of COG", {"block_width": 1024, "block_height": 1024, "block_mpx": 4.0}),
        ("cannot keep 64 workers busy", {"workers": 64}),
    ],
)  # fmt: skip
def test_what_will_hurt_is_said_with_a_remedy(said: str, changes: dict[str, Any]) -> None:
    seen = look(**changes)
    assert len([sentence for sentence in seen.warnings if said in sentence]) == 1, seen.warnings
    assert f"warning: {seen.warnings[0]}" in render_text(seen)


def test_two_looks_are_told_with_what_one_could_do_for_as_much() -> None:
    """A budget of 0.25 on top of a picture 2 times shrunk pays for one shrunk 2 / sqrt(1.25) = 1.79 times."""
    twice = RunConfig(tiling=TilingConfig(global_factor=2.0))
    text = render_text(look(config=twice))
    assert "2 times shrunk, then crops 1.4 times closer, up to 25 % as many pixels again, chosen by ours" in text
    assert "one look 1.79 times shrunk" in text
    once = RunConfig(tiling=TilingConfig(global_factor=2.0), refine=RefineConfig(selector="none"))
    assert "one look" not in render_text(look(config=once)) + render_text(look())


def test_the_block_size_a_warning_asks_for_is_enough() -> None:
    wide = {"width": 100_000, "block_width": 100_000, "block_height": 1}
    assert look(**wide).amplification > 1.3
    assert look(**wide, block_mpx=52.0).amplification <= 1.3
