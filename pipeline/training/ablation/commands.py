"""What the command ``ablate`` does, from its parsed arguments."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.names import listed, shown
from pipeline.training.ablation.plan import Plan, Task, read_plan, tasks_of, with_steps
from pipeline.training.ablation.rows import ROWS_FILE, check_rows, read_rows
from pipeline.training.ablation.running import run_plan
from pipeline.training.ablation.table import TABLE_FILE, make_table
from pipeline.training.recipe import SHIPPED

Report = Callable[[str], None]
PLANS = SHIPPED / "plans"


def ablate(arguments: Namespace, report: Report) -> None:
    """Train what has no row yet, then write the table. Raises ConfigError before anything is trained for a plan, a
    recipe or a folder that is none, and ModelError in the end when a training failed."""
    plan = read_plan(plan_file(arguments.plan))
    tasks = tasks_of(plan, arguments.data)
    if arguments.steps is not None:
        tasks = with_steps(tasks, arguments.steps)
    chosen = _chosen(tasks, plan, arguments.only, arguments.sets)
    if arguments.dry_run:
        rows = read_rows(arguments.out / ROWS_FILE)
        for task in chosen:
            report(f"{task.folder}: {task.recipe.schedule.steps} steps{', done' if task.key in rows else ''}")
        return
    if not arguments.table_only:
        _check_folders(plan, arguments.data)
    check_rows(plan, tasks, arguments.data, arguments.out / ROWS_FILE)
    try:
        if not arguments.table_only:
            run_plan(plan, chosen, arguments.data, arguments.out, arguments.threads, report)
    finally:
        if (arguments.out / ROWS_FILE).exists():
            table = make_table(plan, tasks, arguments.data, arguments.out)
            (arguments.out / TABLE_FILE).write_text(table)
            report(table)
        elif arguments.table_only:
            report(f"{arguments.out / ROWS_FILE} holds no row yet: there is nothing to make a table of")


def plan_file(name: str) -> Path:
    """The file of that name, else the shipped plan. Raises ConfigError when there is neither."""
    for path in (Path(name), PLANS / f"{name}.yaml"):
        if path.is_file():
            return path
    known = sorted(one.stem for one in PLANS.glob("*.yaml"))
    raise ConfigError(f"there is no plan {shown(name)}: neither a file, nor one that is shipped ({', '.join(known)})")


def _chosen(tasks: Sequence[Task], plan: Plan, only: Sequence[str], sets: Sequence[str]) -> list[Task]:
    recipes = {task.recipe.name for task in tasks}
    for flag, given, known in (("--only", only, recipes), ("--sets", sets, set(plan.sets))):
        if unknown := sorted(set(given) - known):
            raise ConfigError(f"{flag} {listed(unknown)}: the plan has {listed(sorted(known))}")
    return [t for t in tasks if (not only or t.recipe.name in only) and (not sets or t.set_name in sets)]


def _check_folders(plan: Plan, data: Path) -> None:
    """Raise ConfigError for a folder of prepared scenes, or a scene, that is not there: hours later is too late."""
    for name, one in plan.sets.items():
        for folder in (*one.folders, one.choose, one.report):
            if folder is not None and not any((data / folder).glob("*.npz")):
                raise ConfigError(f"no prepared scenes (*.npz) of the set {name} in {data / folder}")
        there = {path.stem for folder in one.folders for path in (data / folder).glob("*.npz")}
        if absent := [scene for fold in one.folds for scene in fold if scene not in there]:
            raise ConfigError(f"the folds of the set {name} name scenes that its folders do not hold: {listed(absent)}")
