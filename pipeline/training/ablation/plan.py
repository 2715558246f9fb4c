"""The plan of an ablation: recipes × sets × seeds, read from one YAML file, as the list of trainings it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.names import listed, near_names, quoted, shown
from pipeline.training.recipe import NetworkChoice, Recipe, read_recipe, read_yaml
from pipeline.training.sections import make, typed, unknown_key


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """One set of scenes. Folders are meant below the folder of all prepared scenes."""

    train: tuple[str, ...]
    """Folders that are trained on, each ``FOLDER[:SHARE]``."""
    choose: str | None = None
    """Folder of scenes apart from these, to choose by: recipes, thresholds, the best weights."""
    report: str | None = None
    """Folder of scenes that figures are reported on."""
    folds: tuple[tuple[str, ...], ...] = ()
    """Names of scenes of ``train``: each fold is held out once, and reported on, in place of ``report``."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Settings of recipes' ``data`` on this set."""
    schedule: Mapping[str, Any] = field(default_factory=dict)
    """Settings of recipes' ``schedule`` on this set."""
    tile_px: int = 512
    """Side of the tiles that scenes are looked at in, pixels."""
    report_scenes: int = 1000
    """Most scenes that are reported on, evenly chosen by name."""

    def __post_init__(self) -> None:
        if bool(self.folds) == bool(self.report):
            raise ConfigError("a set is reported on either its folder 'report' or its 'folds'")
        uses: dict[str, set[str | None]] = {
            "reported on": {self.report}, "chosen by": {self.choose}, "trained on": set(self.folders),
        }  # fmt: skip
        for (one, first), (other, second) in combinations(uses.items(), 2):
            for folder in (first & second) - {None}:
                raise ConfigError(f"the folder {folder} is {one} and {other}: its figures would say nothing")
        held = [name for fold in self.folds for name in fold]
        for name in held:
            if held.count(name) > 1:
                raise ConfigError(f"the scene {name} is in two folds: it would be reported on twice")

    @property
    def folders(self) -> tuple[str, ...]:
        """Those of ``train``, without their shares."""
        return tuple(text.rpartition(":")[0] if ":" in text else text for text in self.train)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """One recipe, and how often it is trained."""

    recipe: str
    """File, or name of a shipped recipe."""
    seeds: tuple[int, ...] = (0,)
    sets: tuple[str, ...] = ()
    """None: all."""
    against: str | None = None
    """Name of the recipe that it is compared with; None: the plan's baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is trained and compared."""

    baseline: str
    """Name of the recipe that a row is compared with which names no other."""
    sets: dict[str, SetPlan]
    rows: tuple[RowPlan, ...]
    schedule: Mapping[str, Any]
    """Settings of every recipe's ``schedule``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One training of a plan."""

    recipe: Recipe
    """As it is trained, seed and scenes included."""
    set_name: str
    fold: int | None
    seed: int
    digest: str
    """Of the recipe: see :meth:`pipeline.training.recipe.Recipe.digest`."""

    @property
    def key(self) -> tuple[str, str, str, int | None, int]:
        """What makes it this training: a finished one of the same key is not done again."""
        return (self.recipe.name, self.digest, self.set_name, self.fold, self.seed)

    @property
    def folder(self) -> Path:
        """Of its run, below that of all."""
        fold = "" if self.fold is None else f"-{self.fold}"
        return Path(f"{self.set_name}{fold}") / f"{self.recipe.name}-{self.seed}-{self.digest[:8]}"


def read_plan(path: Path) -> Plan:
    """The plan in a YAML file. Raises ConfigError for keys and sets that are none, with the nearest one."""
    try:
        return _plan(read_yaml(path))
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if shown(str(path)) in text else f"{shown(str(path))}: {text}") from error


def _plan(content: Mapping[str, Any]) -> Plan:
    top = ["baseline", "sets", "rows", "schedule"]
    for key in content:
        if key not in top:
            raise unknown_key(key, top, "")
    given, lines = content.get("sets"), content.get("rows")
    if not isinstance(given, Mapping) or not given or not isinstance(lines, list) or not lines:
        raise ConfigError("a plan has 'sets' (a section each) and 'rows' (a list with a recipe each)")
    sets = {str(name): _of(SetPlan, one, f"sets.{name}") for name, one in given.items()}
    rows = tuple(_of(RowPlan, one, f"rows[{number}]") for number, one in enumerate(lines))
    for row in rows:
        for name in row.sets:
            if name not in sets:
                near = near_names(name, sets) or list(sets)
                raise ConfigError(f"rows: {row.recipe} asks for the set {quoted(name)}; there is {listed(near)}")
    return Plan(baseline=str(content.get("baseline", rows[0].recipe)), sets=sets, rows=rows,
                schedule=dict(content.get("schedule") or {}))  # fmt: skip


def _of(kind: type, given: Any, where: str) -> Any:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is a section, with settings below it")
    return make(kind, typed(kind, given, where), where)


def tasks_of(plan: Plan, data: Path) -> list[Task]:
    """Every training of the plan: the first seed of all rows before the second of any, and of these set after set.

    ``data`` is the folder of all prepared scenes. Raises ConfigError for a recipe that is none, for two of one name,
    and when the baseline is not among them.
    """
    tasks = []
    for turn in range(max(len(row.seeds) for row in plan.rows)):
        for name in plan.sets:
            for row in plan.rows:
                if turn < len(row.seeds) and name in (row.sets or plan.sets):
                    tasks += list(_tasks(plan, row, name, row.seeds[turn], data))
    rivals = baselines(plan)
    for name in (plan.baseline, *rivals.values()):
        if name not in rivals:
            raise ConfigError(f"the baseline {quoted(name)} is none of the recipes: {listed(rivals)}")
    if len({task.key for task in tasks}) < len(tasks):
        raise ConfigError("the plan asks for the same training (recipe, set, seed) twice")
    return tasks


def baselines(plan: Plan) -> dict[str, str]:
    """Name of every recipe → that of the one it is compared with. Raises ConfigError for two recipes of one name."""
    found: dict[str, str] = {}
    files: dict[str, str] = {}
    for row in plan.rows:
        name = read_recipe(row.recipe, {}).name
        if files.setdefault(name, row.recipe) != row.recipe:
            raise ConfigError(f"{files[name]} and {row.recipe} are both named {quoted(name)}")
        found[name] = row.against or plan.baseline
    return found


def _tasks(plan: Plan, row: RowPlan, name: str, seed: int, data: Path) -> Iterator[Task]:
    """One a fold."""
    own = plan.sets[name]
    for fold in range(len(own.folds)) if own.folds else (None,):
        places = {
            "scenes": [str(data / one) for one in own.train],
            "hold_out": list(own.folds[fold]) if fold is not None else [],
            "choose": [str(data / own.choose)] if own.choose else [],
        }
        recipe = read_recipe(
            row.recipe,
            {"seed": seed, "data": {**own.data, **places},
             "schedule": {"validate_px": own.tile_px, **plan.schedule, **own.schedule}},
        )  # fmt: skip
        recipe = replace(recipe, network=_below(data, recipe.network))
        if recipe.data.false_alarms is not None:
            recipe = replace(recipe, data=replace(recipe.data, false_alarms=str(data / recipe.data.false_alarms)))
        yield Task(recipe=recipe, set_name=name, fold=fold, seed=seed, digest=recipe.digest())


def _below(data: Path, choice: NetworkChoice) -> NetworkChoice:
    """The choice with the folders of weights that it names below ``data``: a shipped recipe knows no machine."""
    init, pretrained = (one and str(data / one) for one in (choice.init, choice.pretrained))
    return replace(choice, init=init, pretrained=pretrained)


def with_steps(tasks: list[Task], steps: int) -> list[Task]:
    """The same trainings of another length."""
    made = []
    for task in tasks:
        recipe = replace(task.recipe, schedule=replace(task.recipe.schedule, steps=steps))
        made.append(replace(task, recipe=recipe, digest=recipe.digest()))
    return made
