"""The table of an ablation, as markdown: means and spreads over seeds, and intervals of differences to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.evaluation.bootstrap import Units, draw, extents, interval, make_units, resampled_ap
from pipeline.evaluation.matching import match_classes
from pipeline.training.ablation.figures import SIZES_PX
from pipeline.training.ablation.plan import Plan, Task, baselines
from pipeline.training.ablation.rows import (
    DETECTIONS_FILE,
    ROWS_FILE,
    Key,
    load_detections,
    load_truth,
    read_rows,
)
from pipeline.training.ablation.running import CHOOSE, REPORT, RUNS
from pipeline.types import Detections, FloatArray

RESAMPLES = 1000
TABLE_FILE = "table.md"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of AP50 to the baseline, over the seeds that both were trained with."""

    baseline: str
    mean: float
    low: float
    """The interval of 95 %: scenes are drawn again, trainings are not."""
    high: float


def make_table(plan: Plan, tasks: Sequence[Task], data: Path, out: Path) -> str:
    """Markdown: a section a set, a line a recipe in the order of the plan, of the rows that ``out`` holds."""
    rows = read_rows(out / ROWS_FILE)
    parts = [_section(plan, name, [t for t in tasks if t.set_name == name], rows, (data, out)) for name in plan.sets]
    return "\n".join(part for part in parts if part)


def _section(
    plan: Plan, name: str, tasks: Sequence[Task], rows: Mapping[Key, dict[str, Any]], places: tuple[Path, Path]
) -> str:
    begun = [task for task in tasks if task.key in rows]
    if not begun:
        return ""
    done = [task for task in begun if _folds(begun, task) == _folds(tasks, task)]
    waiting = dict.fromkeys(f"{task.recipe.name} (seed {task.seed})" for task in begun if task not in done)
    waits = [f"Not all folds done yet: {_listed(list(waiting))}.", ""] if waiting else []
    if not done:
        return "\n".join([f"### {name}", "", *waits])
    differences = _differences(plan, done, *places)
    scenes = sorted({rows[task.key][REPORT]["scenes"] for task in done})
    steps = sorted({rows[task.key]["steps"] for task in done})
    commits = sorted({_commit(rows[task.key]) for task in done})
    lines = [
        f"### {name}",
        "",
        f"{_listed(steps)} steps; {_listed(scenes)} scenes{' a fold' if plan.sets[name].folds else ''}; objects: "
        + ", ".join(f"{size} px {_listed(_objects(done, rows, size))}" for size in SIZES_PX)
        + ". AP in %, mean ± standard deviation over seeds. "
        + f"Trained at commit{'s' if len(commits) > 1 else ''} {_listed(commits)}.",
        "",
        "| recipe | seeds | AP | AP50 | " + " | ".join(f"AP {size} px" for size in SIZES_PX)
        + " | AP50, choose | parameters | ms a chip | AP50 − that of [95 %] |",
        "|---|---|---|---|" + "---|" * len(SIZES_PX) + "---|---|---|---|",
    ]  # fmt: skip
    for recipe in dict.fromkeys(task.recipe.name for task in tasks):
        own = [rows[task.key] for task in done if task.recipe.name == recipe]
        if own:
            lines.append(_line(recipe, own, differences.get(recipe)))
    return "\n".join([*lines, "", *waits])


def _commit(row: Mapping[str, Any]) -> str:
    """In short; that the checkout differed from it stays said."""
    commit, _, changes = str(row.get("commit") or "not known").partition("+")
    return commit[:9] + (f"+{changes}" if changes else "")


def _folds(tasks: Sequence[Task], like: Task) -> set[int | None]:
    """Of the trainings of that recipe and seed."""
    return {one.fold for one in tasks if (one.recipe.name, one.seed) == (like.recipe.name, like.seed)}


def _line(recipe: str, own: Sequence[Mapping[str, Any]], difference: Difference | None) -> str:
    cells = [
        recipe,
        str(len({row["seed"] for row in own})),
        _over_seeds(own, REPORT, "ap"),
        _over_seeds(own, REPORT, "ap50"),
        *(_over_seeds(own, REPORT, "ap_by_size", size) for size in SIZES_PX),
        _over_seeds(own, CHOOSE, "ap50"),
        f"{own[0]['parameters'] / 1e6:.2f} M",
        f"{median(row['ms_per_chip'] for row in own):.0f}",
        "" if difference is None else f"{_signed(difference.mean)} [{_signed(difference.low)}, "
        f"{_signed(difference.high)}] {difference.baseline}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _over_seeds(rows: Sequence[Mapping[str, Any]], part: str, *keys: str) -> str:
    """Mean and standard deviation over seeds, of the mean over folds; a dash where the figure does not exist."""
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        value: Any = row.get(part)
        for key in keys:
            value = value and value.get(key)
        if value is not None:
            by_seed.setdefault(row["seed"], []).append(100 * value)
    means = [fmean(values) for values in by_seed.values()]
    if not means:
        return "–"
    return f"{fmean(means):.1f}" + (f" ± {stdev(means):.1f}" if len(means) > 1 else "")


def _signed(share: float) -> str:
    """In %, one decimal, never -0.0."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def _objects(done: Sequence[Task], rows: Mapping[Key, dict[str, Any]], size: str) -> list[int]:
    """How many objects of that size the folds together hold."""
    by_fold = {task.fold: rows[task.key][REPORT]["objects_by_size"][size] for task in done}
    return [sum(by_fold.values())]


def _differences(plan: Plan, done: Sequence[Task], data: Path, out: Path) -> dict[str, Difference]:
    """Recipe → its difference to the baseline, on the folds and seeds that both have."""
    by_recipe: dict[str, dict[tuple[int, int | None], Task]] = {}
    for task in done:
        by_recipe.setdefault(task.recipe.name, {})[(task.seed, task.fold)] = task
    rivals, judged, differences = baselines(plan), _Judged(plan, data, out), {}
    for recipe, own in by_recipe.items():
        baseline = by_recipe.get(rivals[recipe], {})
        if recipe == rivals[recipe]:
            continue
        folds = tuple(range(len(plan.sets[done[0].set_name].folds))) or (None,)
        seeds = [
            seed for seed in sorted({seed for seed, _ in own})
            if all((seed, fold) in own and (seed, fold) in baseline for fold in folds)
        ]  # fmt: skip
        if not seeds:
            continue
        pairs = [
            (judged.ap50([own[seed, fold] for fold in folds]), judged.ap50([baseline[seed, fold] for fold in folds]))
            for seed in seeds
        ]
        point = fmean(float(ours[0] - theirs[0]) for ours, theirs in pairs)
        drawn = np.mean([ours[1:] - theirs[1:] for ours, theirs in pairs], axis=0)
        differences[recipe] = Difference(rivals[recipe], point, *interval(drawn))
    return differences


class _Judged:
    """AP50 of trainings of one set, all folds together, on the same draws of its scenes."""

    def __init__(self, plan: Plan, data: Path, out: Path) -> None:
        self._plan, self._data, self._out = plan, data, out
        self._known: dict[tuple[Key, ...], FloatArray] = {}
        self._scenes: tuple[str, ...] = ()
        self._units: Units | None = None

    def ap50(self, folds: Sequence[Task]) -> FloatArray:
        """(1 + RESAMPLES,) AP50 of the scenes as they are, and of every draw; one task a fold."""
        key = tuple(task.key for task in sorted(folds, key=lambda task: task.fold or 0))
        if key not in self._known:
            self._known[key] = self._measure(sorted(folds, key=lambda task: task.fold or 0))
        return self._known[key]

    def _measure(self, folds: Sequence[Task]) -> FloatArray:
        judged: dict[str, tuple[Detections, Annotations]] = {}
        for task in folds:
            own = load_detections(self._out / RUNS / task.folder / DETECTIONS_FILE.format(part=REPORT))
            plan = self._plan.sets[task.set_name]
            for folder in [plan.report] if plan.report else plan.folders:
                names = [name for name in own if (self._data / folder / f"{name}.npz").exists()]
                truths = load_truth(self._data / folder, names)
                judged |= {name: (own[name], truth) for name, truth in zip(names, truths, strict=True)}
        scenes = tuple(sorted(judged))
        detections, truth = [judged[name][0] for name in scenes], [judged[name][1] for name in scenes]
        if self._units is None:
            self._scenes, self._units = scenes, make_units(truth, extents(detections, truth))
        elif scenes != self._scenes:
            raise ConfigError(
                f"{folds[0].folder} was judged on other scenes than the others: take its row out of {ROWS_FILE} and "
                "judge it again"
            )
        units = self._units
        matches = list(match_classes(detections, truth, (0.5,)).values())
        draws = np.concatenate([np.ones((1, units.count)), draw(units, RESAMPLES)])
        return resampled_ap(matches, units, units.of_detections(detections), draws)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
