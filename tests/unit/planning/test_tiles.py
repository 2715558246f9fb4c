"""The lattice, sizes of tiles and halos, areas of interest, and how little is decoded twice."""

from __future__ import annotations

import pytest
import shapely

from pipeline.config import TilingConfig
from pipeline.errors import ConfigError
from pipeline.planning.blocks import GOOD_AMPLIFICATION, decoded_pixels, delivered_pixels, plan_blocks
from pipeline.planning.lattice import make_lattice
from pipeline.planning.tiles import (
    halo_warning,
    plan_tiles,
    resolve_halo_px,
    resolve_tile_px,
    touching,
    with_valid_pixels,
)
from pipeline.types import Lattice, ModelCard, Scene

STRIP = 10**9


def make_scene(width: int = 1000, height: int = 600, unit: tuple[int, int] = (256, 256)) -> Scene:
    return Scene(
        scene_id="s", uris=("s.tif",), width=width, height=height, bands=(1, 2, 3), band_count=3, dtype="uint8",
        driver="GTiff", crs_wkt=None, transform=None, block_width=min(unit[0], width), block_height=unit[1],
    )  # fmt: skip


def make_card(longest_object_m: float | None = None) -> ModelCard:
    return ModelCard(
        name="m", classes=("ship",), gsd_m=10.0, bands=("red", "green", "blue"), input_px=320, sha256="0" * 64,
        longest_object_m=longest_object_m,
    )  # fmt: skip


def native(width: int, height: int, gsd_m: float | None = None) -> Lattice:
    return Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=gsd_m)


class TestLattice:
    def test_of_a_native_run_is_the_scene_itself(self) -> None:
        assert make_lattice(make_scene(), "native", 10.0, (3.0, 3.0)) == native(1000, 600, 3.0)

    def test_of_a_model_without_gsd_is_the_scene_itself(self) -> None:
        assert make_lattice(make_scene(), "model", None, (3.0, 3.0)) == native(1000, 600, 3.0)

    def test_of_a_scene_without_gsd_is_the_scene_itself(self) -> None:
        assert make_lattice(make_scene(), "model", 10.0, None) == native(1000, 600)
        assert make_lattice(make_scene(), "2.5", 10.0, None) == native(1000, 600)

    def test_is_not_resampled_for_less_than_a_thousandth(self) -> None:
        lattice = make_lattice(make_scene(), "model", 10.0, (9.9964, 10.0096))
        assert (lattice.scale_x, lattice.scale_y, lattice.width) == (1.0, 1.0, 1000)
        assert make_lattice(make_scene(), "model", 10.0, (10.0, 9.98)).scale_y == pytest.approx(10 / 9.98)

    def test_has_square_pixels_on_the_ground_when_the_scene_has_not(self) -> None:
        lattice = make_lattice(make_scene(), "model", 10.0, (5.0, 8.0))
        assert (lattice.scale_x, lattice.scale_y, lattice.gsd_m) == (2.0, 1.25, 10.0)
        assert (lattice.width, lattice.height) == (500, 480)

    def test_hangs_over_the_edge_by_less_than_a_pixel(self) -> None:
        lattice = make_lattice(make_scene(1001, 599), "7", None, (2.0, 2.0))
        for size, cells, scale in ((1001, lattice.width, lattice.scale_x), (599, lattice.height, lattice.scale_y)):
            assert 0 <= cells * scale - size < scale

    def test_gains_no_pixel_from_rounding(self) -> None:
        """2100 / (0.7 / 0.1) is 300.0000…4 in floating point; the lattice has 300 pixels."""
        assert make_lattice(make_scene(2100, 2100), "0.7", None, (0.1, 0.1)).width == 300

    def test_of_a_scene_far_too_coarse_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"s\.tif has pixels of 1113 x 1113 m .* 10 m: 111 times magnified"):
            make_lattice(make_scene(), "model", 10.0, (1113.0, 1113.0))

    def test_of_a_tiny_scene_keeps_one_pixel(self) -> None:
        assert make_lattice(make_scene(3, 3), "100", None, (1.0, 1.0)).window.pixels == 1


class TestSizes:
    def test_tile_is_the_models_input_before_the_global_shrinking(self) -> None:
        assert resolve_tile_px(TilingConfig(), make_card()) == 320
        assert resolve_tile_px(TilingConfig(global_factor=2.5), make_card()) == 800
        assert resolve_tile_px(TilingConfig(tile_px=512), make_card()) == 512

    def test_halo_in_metres_is_rounded_up(self) -> None:
        assert resolve_halo_px(TilingConfig(halo_m=401.0), native(9, 9, 10.0), make_card()) == 41

    def test_halo_covers_the_longest_object_and_keeps_it_off_both_edges(self) -> None:
        assert resolve_halo_px(TilingConfig(), native(9, 9, 10.0), make_card(longest_object_m=400.0)) == 44

    def test_halo_falls_back_to_an_eighth_of_the_tile(self) -> None:
        assert resolve_halo_px(TilingConfig(), native(9, 9, 10.0), make_card()) == 40
        assert resolve_halo_px(TilingConfig(), native(9, 9), make_card(longest_object_m=400.0)) == 40

    def test_zero_halo_is_a_choice_not_a_default(self) -> None:
        assert resolve_halo_px(TilingConfig(halo_px=0), native(9, 9, 10.0), make_card(400.0)) == 0

    @pytest.mark.parametrize(
        ("config", "gsd_m", "said"),
        [
            (TilingConfig(halo_px=320), 10.0, "320 px leaves no core in tiles of 320 px"),
            (TilingConfig(halo_m=4000.0), 10.0, "400 px leaves no core"),
            (TilingConfig(tile_px=64, halo_px=80), 10.0, "80 px leaves no core in tiles of 64 px"),
            (TilingConfig(halo_m=100.0), None, "halo_px"),
        ],
    )
    def test_impossible_halos_are_refused(self, config: TilingConfig, gsd_m: float | None, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            resolve_halo_px(config, native(999, 9, gsd_m), make_card())

    def test_a_halo_that_was_asked_for_is_refused_with_the_flags_that_help(self) -> None:
        with pytest.raises(ConfigError, match=r"--tiling.tile_px 641 or more, or --tiling.halo_m 159 or less"):
            resolve_halo_px(TilingConfig(halo_m=320.0), native(999, 9, 0.5), make_card())

    @pytest.mark.parametrize("config", [TilingConfig(), TilingConfig(halo_px=400), TilingConfig(halo_m=400.0)])
    def test_a_scene_of_one_tile_needs_no_halo(self, config: TilingConfig) -> None:
        lattice, card = native(320, 200, 0.5), make_card(longest_object_m=400.0)
        assert resolve_halo_px(config, lattice, card) == 0
        assert halo_warning(config, lattice, card) is None
        assert len(plan_tiles(lattice, 320, 0)) == 1

    def test_a_halo_that_fits_is_kept_for_one_tile_too(self) -> None:
        assert resolve_halo_px(TilingConfig(), native(9, 9, 10.0), make_card(longest_object_m=400.0)) == 44

    def test_the_models_halo_gives_way_with_a_warning_where_no_tile_holds_its_objects(self) -> None:
        lattice, card = native(5000, 200, 0.5), make_card(longest_object_m=400.0)
        assert resolve_halo_px(TilingConfig(), lattice, card) == 160
        said = halo_warning(TilingConfig(), lattice, card)
        assert said is not None
        for word in ("400 m", "804 px", "320 px", "160 px", "--tiling.tile_px 1608", "--tiling.gsd model"):
            assert word in said, said
        enough = TilingConfig(tile_px=1608)
        assert resolve_halo_px(enough, lattice, card) == 804
        assert halo_warning(enough, lattice, card) is None

    def test_a_plan_without_a_core_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="below the tile"):
            plan_tiles(native(100, 100), 64, 64)


def test_a_lattice_smaller_than_a_tile_is_one_tile() -> None:
    (tile,) = plan_tiles(native(100, 40), 64, 10)[:1]
    assert (tile.window.height, tile.tile_id) == (40, "r0000c0000")
    assert len(plan_tiles(native(64, 40), 64, 10)) == 1


def test_the_last_tile_is_snapped_inside() -> None:
    tiles = plan_tiles(native(150, 64), 64, 10)
    assert [tile.window.x for tile in tiles] == [0, 54, 86]


class TestAreaOfInterest:
    tiles = plan_tiles(native(1000, 1000), 100, 20)

    def test_keeps_every_tile_whose_window_it_touches(self) -> None:
        """Against plain rectangle tests, for an area inside one tile's own part and one inside an overlap."""
        for area in (shapely.box(40, 40, 50, 50), shapely.box(85, 85, 95, 95), shapely.box(0, 500, 1000, 501)):
            left, top, right, bottom = area.bounds
            expected = [
                t for t in self.tiles
                if t.window.x <= right and t.window.x1 >= left and t.window.y <= bottom and t.window.y1 >= top
            ]  # fmt: skip
            assert list(touching(self.tiles, area)) == expected

    def test_leaves_out_tiles_in_a_hole(self) -> None:
        ring = shapely.box(0, 0, 1000, 1000).difference(shapely.box(150, 150, 850, 850))
        chosen = {tile.index for tile in touching(self.tiles, ring)}
        inside = {t.index for t in self.tiles if t.window.x > 150 and t.window.y > 150 and t.window.x1 < 850 and t.window.y1 < 850}  # fmt: skip  # noqa: E501
        assert inside
        assert chosen == {tile.index for tile in self.tiles} - inside

    def test_outside_the_scene_keeps_nothing(self) -> None:
        assert touching(self.tiles, shapely.box(2000, 0, 3000, 10)) == ()
        assert touching(self.tiles, shapely.Polygon()) == ()


def test_nothing_to_screen_or_read_is_fine() -> None:
    assert with_valid_pixels((), shapely.Polygon(), native(5, 5)) == ((), ())  # type: ignore[arg-type]
    assert plan_blocks((), make_scene(), native(1000, 600), 24) == ()
    assert delivered_pixels((), make_scene(), native(1000, 600)) == 0


TYPICAL = [
    (width, height, unit, tile_px)
    for width, height in ((10980, 10980), (20480, 20480), (5000, 7000), (2000, 2000), (40000, 30000), (1100, 900))
    for unit in ((256, 256), (512, 512), (STRIP, 1), (STRIP, 16))
    for tile_px in (512, 768, 1024)
    # Where a band of full-width strips as high as one tile is over the 24 Mpx of a block, strips are decoded again.
    if not (width == 40000 and unit[0] == STRIP and tile_px > 512)
]


@pytest.mark.parametrize(("width", "height", "unit", "tile_px"), TYPICAL)
def test_typical_files_are_decoded_at_most_1_3_times(
    width: int, height: int, unit: tuple[int, int], tile_px: int
) -> None:
    scene, lattice = make_scene(width, height, unit), native(width, height)
    tiles = plan_tiles(lattice, tile_px, 80)
    blocks = plan_blocks(tiles, scene, lattice, 24.0)
    assert delivered_pixels(tiles, scene, lattice) == width * height
    assert decoded_pixels(blocks, scene, lattice) / (width * height) <= GOOD_AMPLIFICATION
    assert max(block.window.pixels for block in blocks) <= 24e6


@pytest.mark.parametrize(
    ("unit", "scale"),
    # Not 512-pixel units magnified by two: 24 Mpx of lattice are only 6 Mpx, five such units square, of the file.
    [((256, 256), 0.5), ((STRIP, 1), 0.5)]
    + [(unit, scale) for unit in ((256, 256), (512, 512), (STRIP, 1)) for scale in (0.8, 1.7)],
)
def test_resampled_scenes_are_decoded_at_most_1_3_times(unit: tuple[int, int], scale: float) -> None:
    scene = make_scene(10980, 10980, unit)
    lattice = make_lattice(scene, "10", None, (10 / scale, 10 / scale))
    tiles = plan_tiles(lattice, 512, 80)
    blocks = plan_blocks(tiles, scene, lattice, 24.0)
    assert decoded_pixels(blocks, scene, lattice) / delivered_pixels(tiles, scene, lattice) <= GOOD_AMPLIFICATION


def test_a_scene_of_many_tiles_gives_several_workers_something_to_do() -> None:
    scene, lattice = make_scene(10980, 10980, (256, 256)), native(10980, 10980)
    assert len(plan_blocks(plan_tiles(lattice, 512, 80), scene, lattice, 1000.0)) >= 8


def test_a_scene_of_a_few_file_tiles_is_read_in_one_go_rather_than_decoded_four_times() -> None:
    scene, lattice = make_scene(900, 900, (1024, 1024)), native(900, 900)
    tiles = plan_tiles(lattice, 512, 80)
    assert (len(tiles), len(plan_blocks(tiles, scene, lattice, 24.0))) == (4, 1)


def test_two_far_islands_of_tiles_do_not_read_the_sea_between_them() -> None:
    scene, lattice = make_scene(4000, 4000, (256, 256)), native(4000, 4000)
    tiles = plan_tiles(lattice, 512, 80)
    islands = touching(
        tiles, shapely.MultiPolygon([shapely.box(10, 10, 600, 600), shapely.box(3500, 3500, 3900, 3900)])
    )
    blocks = plan_blocks(islands, scene, lattice, 24.0)
    assert decoded_pixels(blocks, scene, lattice) <= 1.5 * delivered_pixels(islands, scene, lattice)
