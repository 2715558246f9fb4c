"""Sizes of tiles and halos, and which tiles an area touches."""

from __future__ import annotations

import pytest
import shapely

from pipeline.config import TilingConfig
from pipeline.errors import ConfigError
from pipeline.planning.tiles import halo_warning, plan_tiles, resolve_halo_px, resolve_tile_px, touching
from tests.support.plans import make_card, native


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
