"""What a recipe means for a network of the transformers library: horizontal boxes, and tiles of the one size that it
looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.errors import ConfigError
from pipeline.training.data.hulls import horizontal
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.fitting import Group
from pipeline.training.loop_config import LoopConfig
from pipeline.training.recipe import Recipe
from pipeline.training.start import init_config, init_folder

Report = Callable[[str], None]


def with_hulls(
    recipe: Recipe, groups: Sequence[Group], held: Sequence[TrainingScene], report: Report
) -> tuple[Recipe, list[Group], list[TrainingScene]]:
    """The same with the hulls of boxes for boxes, and tiles that are turned by quarters only, which is said."""
    found = [horizontal(group.scenes) for group in groups]
    if turned := sum(count for _, count in found):
        report(f"  {turned} boxes are turned: {recipe.family.name} learns their horizontal hulls")
    if not recipe.data.quarter_turns:
        report("  tiles are turned by quarters only, as boxes are horizontal (--quarter-turns)")
        recipe = replace(recipe, data=replace(recipe.data, quarter_turns=True))
    hulled = [replace(group, scenes=scenes) for group, (scenes, _) in zip(groups, found, strict=True)]
    return recipe, hulled, horizontal(held)[0]


def with_one_size(recipe: Recipe, report: Report) -> Recipe:
    """The recipe with tiles of one size, to learn from and to be judged on: the checkpoint's own, which is said, where
    no size is asked for.

    Its boxes are shares of the tile: what is learnt at one size is wrong at another. Raises ConfigError for several
    sizes, and for another one to be judged on.
    """
    assert recipe.network.init is not None, "a family that has no network but a checkpoint's"
    schedule, plain = recipe.schedule, LoopConfig()
    sizes = schedule.sizes_px
    if sizes == plain.sizes_px:
        sizes = (init_config(recipe.family, init_folder(recipe.network.init)).input_px,)
        report(f"  tiles have {sizes[0]} px, the size that {recipe.network.init} looks at (--sizes gives another)")
    if len(set(sizes)) > 1:
        raise ConfigError(
            "schedule.sizes_px: the boxes of a network of the library are shares of its tile, so that it learns tiles "
            "of one size: give one side"
        )
    if schedule.validate_px not in (plain.validate_px, sizes[0]):
        raise ConfigError(
            f"schedule.validate_px is {schedule.validate_px}, but what learns from tiles of {sizes[0]} px looks at "
            "such: leave it out"
        )
    return replace(recipe, schedule=replace(schedule, sizes_px=sizes, validate_px=sizes[0]))
