"""What each way of looking is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config import RefineConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.comparison.strategies import STRATEGIES, as_close_as_crops, fitted, make_strategies
from pipeline.planning.tiles import plan_tiles
from pipeline.types import Lattice
from tests.support.judging import CARD, LATTICE, base


class TestStrategies:
    def test_each_is_the_run_it_says(self) -> None:
        made = {one.name: one for one in make_strategies(STRATEGIES, (0.25, 1.0), base(), CARD, seeds=2)}
        assert made["global"].config.refine.selector == "none"
        assert {one.config.tiling.tile_px for name, one in made.items() if name != "exhaustive"} == {256}
        whole = made["exhaustive"].config.tiling
        assert (whole.global_factor, whole.tile_px, whole.halo_px) == (1.0, 128, 26)
        assert made["sae@0.25"].config.refine == RefineConfig(selector="sae", budget=0.25)
        assert [made[f"random@1#{seed}"].config.refine.seed for seed in (0, 1)] == [0, 1]
        assert made["oracle@1"].omniscient
        assert made["oracle@1"].config.refine.budget == 1
        assert made["queries600"].queries == 600
        assert len({one.family for one in made.values()}) == len(made) - 2, "seeds are one family"

    def test_exhaustive_is_the_cheapest_cover(self) -> None:
        """Of 1280 px by tiles of 320 to 640 px: 3 x 3 of 512, not 3 x 3 of 640 and not 4 x 4 of 416; what fits into one
        tile is one look; a scene takes what covers it best."""
        card = replace(CARD, input_px=640)
        strategy = make_strategies(["exhaustive"], (), base(), card)[0]
        for width, height, side in ((1280, 1280, 512), (640, 512, 640), (2201, 871, 544)):
            lattice = Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=None)
            tiling = fitted(strategy, lattice, card).tiling
            assert (tiling.tile_px, tiling.halo_px) == (side, round(0.2 * side))
            cost = sum(tile.window.pixels for tile in plan_tiles(lattice, side, round(0.2 * side)))
            for other in range(320, 641, 32):
                assert cost <= sum(t.window.pixels for t in plan_tiles(lattice, other, round(0.2 * other)))
        assert fitted(strategy, LATTICE, replace(card, input_px=32)).tiling.tile_px == 32
        plain = make_strategies(["global"], (), base(), card)[0]
        assert fitted(plain, LATTICE, card) == plain.config

    def test_larger_spends_the_budget_in_one_look(self) -> None:
        """(tile / factor)² = (1 + budget) (tile / global factor)²; the last is not shrunk at all."""
        factors = {
            s.budget: s.config.tiling.global_factor for s in make_strategies(["larger"], (0.5, 1, 9), base(), CARD)
        }
        assert factors.pop(3.0) == 1.0
        assert set(factors) == {0.5, 1.0}, "a budget beyond every pixel has no larger input"
        for budget, factor in factors.items():
            assert 1 / factor**2 == pytest.approx((1 + budget) / 4)

    @pytest.mark.parametrize(
        ("kinds", "budgets", "config", "said"),
        [
            (["global", "magic"], (1.0,), base(), "there is no strategy 'magic'; there are global, sae,"),
            (["sae"], (1.0,), base(global_factor=1.0), "there is no second look to compare"),
            (["sae"], (0.0,), base(), "a budget of 0 is the strategy global"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, kinds: list[str], budgets: tuple[float, ...], config: RunConfig, said: str
    ) -> None:
        with pytest.raises(ConfigError, match=said):
            make_strategies(kinds, budgets, config, CARD)

    @pytest.mark.parametrize(
        ("zoom", "kind", "factor"), [(2.0, "exhaustive", 1.0), (9.0, "exhaustive", 1.0), (1.6, "larger", 1.25)]
    )
    def test_the_oracle_knows_what_is_found_as_close_as_crops_are_shown(
        self, zoom: float, kind: str, factor: float
    ) -> None:
        shared = replace(base(tile_px=512), refine=RefineConfig(zoom=zoom))
        close = as_close_as_crops(shared, CARD)
        assert (close.kind, close.config.tiling.global_factor) == (kind, factor)
        assert not close.config.looks_twice
