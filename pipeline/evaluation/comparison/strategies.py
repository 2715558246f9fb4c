"""The ways of looking that are compared: names on the command line → run settings.

Every strategy is the product's own path with other settings, so what is measured is what a run would do.

==================  ===================================================================================================
``global``          one look at each tile, shrunk by ``tiling.global_factor``
a selector          the same and a second look, chosen by it, at each budget; ``random`` once for each seed
``oracle``          the second look chosen by who knows the truth, and what the detector finds of it as close as
                    crops are shown: what any choice of crops could reach
``exhaustive``      every pixel at lattice resolution, in tiles with 20 % overlap: the cheapest full cover of each image
                    by tiles of half to the whole of the network's size
``larger``          one look at each tile, shrunk less: as many pixels as the global look and the budget together;
                    and once more, not shrunk at all
``queries600``      ``global`` with 600 queries in place of the network's own number
==================  ===================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from pipeline.config import RunConfig, Selector
from pipeline.config.looking import one_look_factor
from pipeline.errors import ConfigError
from pipeline.planning.tiles import plan_tiles
from pipeline.types import Lattice, ModelCard

EXHAUSTIVE_OVERLAP = 0.2
"""Of the tile's side, as slicing libraries have it by default."""
MANY_QUERIES = 600

SELECTORS = tuple(name for name in get_args(Selector) if name != "none")
WITH_BUDGET = (*SELECTORS, "oracle", "larger")
STRATEGIES = ("global", *WITH_BUDGET, "exhaustive", f"queries{MANY_QUERIES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One way of looking. Strategies that differ only in their seed are reported together."""

    kind: str
    """One of STRATEGIES."""
    config: RunConfig
    budget: float | None = None
    """Pixels beyond those of the global look, as a share of them; None where there is no choice."""
    seed: int = 0
    queries: int | None = None
    """Queries of the network; None leaves them."""

    @property
    def family(self) -> str:
        """What is reported as one row: everything but the seed."""
        return self.kind if self.budget is None else f"{self.kind}@{self.budget:g}"

    @property
    def name(self) -> str:
        return f"{self.family}#{self.seed}" if self.kind == "random" else self.family

    @property
    def omniscient(self) -> bool:
        """Its crops are chosen with the truth at hand."""
        return self.kind == "oracle"


def make_strategies(
    kinds: Sequence[str], budgets: Sequence[float], base: RunConfig, card: ModelCard, seeds: int = 3
) -> list[Strategy]:
    """The strategies of the names ``kinds``, in their order, those with a budget once for each.

    ``base`` holds what they share: tile, global factor, batch, threads. Raises ConfigError for a name that is none of
    STRATEGIES, and for budgets with a global factor of 1, where there is nothing to look at again.
    """
    unknown = [kind for kind in kinds if kind not in STRATEGIES]
    if unknown:
        raise ConfigError(f"there is no strategy {unknown[0]!r}; there are {', '.join(STRATEGIES)}")
    factor = base.tiling.global_factor
    if factor == 1 and any(kind in WITH_BUDGET for kind in kinds):
        raise ConfigError(
            "with a global factor of 1 there is no second look to compare; give --global-factor 2 or more"
        )
    if any(budget <= 0 for budget in budgets):
        raise ConfigError(f"budgets must be positive, not {min(budgets):g}; a budget of 0 is the strategy global")
    tile_px = base.tiling.tile_px or round(card.input_px * factor)
    shared = replace(
        base,
        tiling=replace(base.tiling, tile_px=tile_px),
        refine=replace(base.refine, selector="none"),
    )
    made: list[Strategy] = []
    for kind in dict.fromkeys(kinds):
        if kind in WITH_BUDGET:
            made += [one for budget in dict.fromkeys(budgets) for one in _with_budget(kind, budget, shared, seeds)]
        else:
            made.append(_alone(kind, shared, card))
        if kind == "larger":
            made.append(Strategy(kind=kind, budget=factor**2 - 1, config=_one_look(shared, 1.0)))
    return made


def _alone(kind: str, shared: RunConfig, card: ModelCard) -> Strategy:
    if kind == "exhaustive":
        return exhaustive(shared, card)
    return Strategy(kind=kind, config=shared, queries=None if kind == "global" else MANY_QUERIES)


def exhaustive(shared: RunConfig, card: ModelCard) -> Strategy:
    """The strategy ``exhaustive`` of a run's other settings, in tiles of the network's size until it is fitted."""
    tiling = replace(shared.tiling, global_factor=1.0, **_overlapping(card.input_px), halo_m=None)
    config = replace(shared, tiling=tiling, refine=replace(shared.refine, selector="none"))
    return Strategy(kind="exhaustive", config=config)


def as_close_as_crops(shared: RunConfig, card: ModelCard) -> Strategy:
    """Everything at the resolution crops are shown at: what crops could find, wherever they were."""
    factor = shared.refine.crop_factor(shared.tiling.global_factor)
    if factor == 1:
        return exhaustive(shared, card)
    return Strategy(kind="larger", config=_one_look(shared, factor))


def _one_look(shared: RunConfig, factor: float) -> RunConfig:
    """One look at each tile, shrunk by ``factor``."""
    tiling, refine = replace(shared.tiling, global_factor=factor), replace(shared.refine, selector="none")
    return replace(shared, tiling=tiling, refine=refine)


def fitted(strategy: Strategy, lattice: Lattice, card: ModelCard) -> RunConfig:
    """The strategy's settings for one image: of ``exhaustive`` the tile that covers it with the fewest pixels.

    Sides are multiples of 32 px, which networks pad to; of two that cost the same, the larger has fewer seams.
    """
    if strategy.kind != "exhaustive":
        return strategy.config
    sides = range(card.input_px // 64 * 32, card.input_px + 1, 32)
    best = min(reversed(sides), key=lambda side: _cover_px(lattice, side)) if len(sides) else card.input_px
    return replace(strategy.config, tiling=replace(strategy.config.tiling, **_overlapping(max(32, best))))


def _overlapping(side: int) -> dict[str, Any]:
    return {"tile_px": side, "halo_px": round(EXHAUSTIVE_OVERLAP * side)}


def _cover_px(lattice: Lattice, side: int) -> int:
    tiles = plan_tiles(lattice, max(32, side), round(EXHAUSTIVE_OVERLAP * max(32, side)))
    return sum(tile.window.pixels for tile in tiles)


def _with_budget(kind: str, budget: float, shared: RunConfig, seeds: int) -> list[Strategy]:
    if kind == "larger":
        factor = one_look_factor(shared.tiling.global_factor, budget)
        if factor <= 1:
            return []
        return [Strategy(kind=kind, budget=budget, config=_one_look(shared, factor))]
    # The oracle's own gain takes the selector's place, but there must be a second look.
    selector = cast("Selector", "density" if kind == "oracle" else kind)
    refine = replace(shared.refine, selector=selector, budget=budget)
    return [
        Strategy(kind=kind, budget=budget, seed=seed, config=replace(shared, refine=replace(refine, seed=seed)))
        for seed in (range(seeds) if kind == "random" else (refine.seed,))
    ]
