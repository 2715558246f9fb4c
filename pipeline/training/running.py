"""One training, from a recipe to the last step; it goes on where it was cut."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.errors import ConfigError
from pipeline.names import listed, quoted
from pipeline.training.contradictions import check_tiles, check_together
from pipeline.training.data.batches import TileSampler
from pipeline.training.data.false_alarms import read_places
from pipeline.training.data.hulls import horizontal
from pipeline.training.data.prepared import agreed
from pipeline.training.data.scenes import TrainingScene, load_scenes
from pipeline.training.export import state_file, training_card
from pipeline.training.fitting import Group, groups_of, new_record
from pipeline.training.judging import SceneJudge
from pipeline.training.learner import Learner
from pipeline.training.library_recipe import with_hulls, with_one_size
from pipeline.training.loop import BEST, Trainer, best_of
from pipeline.training.ranks import rank
from pipeline.training.recipe import Recipe
from pipeline.training.run_record import RunRecord, read_record, write_record
from pipeline.training.start import first_network, init_config, init_folder
from pipeline.types import ModelCard

Report = Callable[[str], None]
RECIPE_FILE = "recipe.yaml"
_CHOOSING = ("hold_out", "choose", "validate_scenes", "schedule.validate_px")
"""Arguments that say which scenes choose the best weights, and how they are looked at."""


def train(recipe: Recipe, out: Path, threads: int, report: Report) -> None:
    """Train to the last step into the folder ``out``, from its own checkpoint when it has one; the recipe is copied
    there. Of several ranks the first writes.

    Raises ConfigError when the scenes do not agree with each other, with the recipe, or with what the run learns.
    """
    made = made_training(recipe, out, threads, report)
    recipe, trainer, record, before = made.recipe, made.trainer, made.record, read_record(out)
    first = rank() == 0
    if state_file(out).exists():
        _check_same_task(out, before, record)
        trainer.resume()
        if not _goes_on(trainer.step, out, before, record, report):
            return
        chosen_otherwise = any(before and before.arguments.get(key) != record.arguments.get(key) for key in _CHOOSING)
        if first and chosen_otherwise:
            _part_with_best(out, report)
        record = record.went_on(before, trainer.step) if before else record
    elif first:
        _part_with_best(out, report)
        _say_fresh(recipe, record.class_count, report)
    if first:
        write_record(out, record)
        _copy(recipe, out)
    report(f"training on {len(made.names)} scenes: {', '.join(made.names[:12])}{' …' if len(made.names) > 12 else ''}")
    if made.missing:
        report(f"  {made.missing}")
    trainer.run(report)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A training that has not begun."""

    recipe: Recipe
    """As it is trained: a library's network has its own ways with boxes and sizes."""
    trainer: Trainer
    record: RunRecord
    names: list[str]
    """Of the scenes that are trained on."""
    missing: str | None
    """Why scenes that were given to choose choose nothing."""


def made_training(recipe: Recipe, out: Path, threads: int, report: Report) -> Made:
    """Everything that a training needs, in this process; nothing is written. What is taken otherwise than asked for is
    reported. Raises ConfigError: see :func:`train`."""
    _check_device(recipe.schedule.device)
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.schedule.seed)
    if not recipe.data.scenes:
        raise ConfigError("there is nothing to train on: give --scenes, or a recipe with data.scenes")
    groups, held = groups_of(recipe.data.scenes, recipe.data.hold_out)
    family = recipe.family
    if not family.oriented:
        recipe, groups, held = with_hulls(with_one_size(recipe, report), groups, held, report)
    record = new_record(recipe, threads, groups)
    network = first_network(family, recipe.network, record.class_count, len(record.bands))
    if not family.oriented:
        network.config = replace(network.config, input_px=recipe.schedule.validate_px)
    check_together(network.config, recipe.losses)
    check_tiles(network.config, recipe.schedule.sizes_px, recipe.schedule.tiles)
    learner = recipe.family.learner(network, record.mean, record.std, recipe.losses)
    px = recipe.schedule.validate_px
    card = training_card(recipe.name, record.named, record.gsd_m, px, network.config, record.bands)
    judge = _judge(recipe, learner, card, groups, held)
    places = read_places(Path(recipe.data.false_alarms)) if recipe.data.false_alarms else None
    sampler = TileSampler([(group.scenes, group.share) for group in groups], recipe.data, places)
    return Made(
        recipe=recipe,
        trainer=Trainer(learner, sampler, recipe.schedule, out, judge),
        record=record,
        names=[scene.name for group in groups for scene in group.scenes],
        missing=_chooses_nothing(recipe, judge),
    )


def _say_fresh(recipe: Recipe, classes: int, report: Report) -> None:
    """Say so where ``--init`` knows another number of classes."""
    init = recipe.network.init
    known = classes if init is None else init_config(recipe.family, init_folder(init)).classes
    if known != classes:
        report(f"  the weights of {init} know {known} class(es), {classes} are learnt: what scores them starts fresh")


def _judge(
    recipe: Recipe, learner: Learner, card: ModelCard, groups: Sequence[Group], held: Sequence[TrainingScene]
) -> SceneJudge:
    """Of the scenes that are held out or given to choose by, and of those of the first folder that is trained on."""
    folders = [Path(folder) for folder in recipe.data.choose]
    agreed([*(group.folder for group in groups), *folders])
    held_out = list(held)
    for folder in folders:
        if any(folder.resolve() == group.folder.resolve() for group in groups):
            raise ConfigError(f"--choose {folder} is trained on: it says nothing of what the network never saw")
        chosen = load_scenes(folder) if recipe.family.oriented else horizontal(load_scenes(folder))[0]
        _check_apart(folder, chosen, groups)
        held_out += chosen
    return SceneJudge(learner, card, held_out, groups[0].scenes, recipe.schedule.validate_scenes)


def _check_device(device: str) -> None:
    """Raise ConfigError for what is no device, or none of this machine."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ConfigError(f"device is cpu or cuda (cuda:1), not {quoted(device)}")
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: torch {torch.__version__} sees no GPU here; use --device cpu")


def _chooses_nothing(recipe: Recipe, judge: SceneJudge) -> str | None:
    """Why no best weights will be chosen where scenes are given to choose them by; None where they will."""
    if recipe.data.choose and not recipe.schedule.validate_steps:
        return "--choose chooses nothing without --validate-steps: the last weights alone are judged"
    if judge.chooses or not (recipe.data.choose or recipe.data.hold_out):
        return None
    return "no scene held out or given by --choose has an object: no best weights are kept"


def _check_apart(folder: Path, chosen: Sequence[TrainingScene], groups: Sequence[Group]) -> None:
    """Raise ConfigError for a scene to choose by whose very pixels are trained on, from another folder."""
    trained = {scene.name: scene for group in groups for scene in group.scenes}
    for scene in chosen:
        same = trained.get(scene.name)
        if same is not None and np.array_equal(same.pixels, scene.pixels):
            raise ConfigError(
                f"the scene {scene.name} of --choose {folder} is trained on: it says nothing of what the network never "
                "saw; hold it out, or prepare others with --only and --without"
            )


def _copy(recipe: Recipe, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".{RECIPE_FILE}.{os.getpid()}"
    partial.write_text(recipe.to_yaml())
    partial.replace(out / RECIPE_FILE)


def _check_same_task(run: Path, before: RunRecord | None, record: RunRecord) -> None:
    """Raise ConfigError when the run in that folder learns other classes, or sees pixels otherwise."""
    if before is None:
        return
    for what, old, new in (
        ("classes", before.classes, record.classes),
        ("number of classes", before.class_count, record.class_count),
        ("bands", before.bands, record.bands),
        ("metres per pixel", before.gsd_m, record.gsd_m),
        ("mean", before.mean, record.mean),
        ("std", before.std, record.std),
    ):
        if old != new and not (what == "classes" and None in (old, new)):
            shown = [listed(one) if isinstance(one, tuple) else one for one in (old, new)]
            raise ConfigError(
                f"{run} learns with the {what} {shown[0]}, these scenes have {shown[1]}: give another --out"
            )


def _part_with_best(run: Path, report: Report) -> None:
    """Put aside the best weights that other scenes chose, or scenes looked at otherwise, or another training left:
    those figures and those to come say nothing of each other, and scenes that chose then may be trained on now."""
    if not state_file(run, BEST).exists():
        return
    aside = run / f"{BEST}-{best_of(run)[0]}"
    shutil.rmtree(aside, ignore_errors=True)
    (run / BEST).rename(aside)
    report(f"  the best weights so far were chosen by other scenes, or in another training: they lie in {aside} now")


def _goes_on(step: int, run: Path, before: RunRecord | None, record: RunRecord, report: Report) -> bool:
    """Say from where the run goes on and what is other than before; False when there is nothing left to do."""
    steps = record.arguments["steps"]
    changes = record.changes(before) if before else []
    if step >= steps:
        asked = f"; --steps {steps} asks for fewer" if step > steps else ""
        report(f"{run} is finished: it stands at step {step}{asked}, nothing was done; more --steps train it further")
        if changes:
            report(f"  not applied: {'; '.join(changes)}")
        return False
    report(f"going on from step {step} of {run}")
    if before is None:
        report(f"  {run} holds no run.json: what it was trained with before is not known")
    if changes:
        report(f"  other than before, from this step on: {'; '.join(changes)}")
    if any(change.startswith("--steps") for change in changes):
        report("  the learning rate falls with the length of the run: it is not that of a run of one go")
    return True
