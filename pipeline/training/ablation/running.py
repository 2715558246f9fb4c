"""Doing an ablation: training after training, each judged and written down as a row. What stands is not done again."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ModelError
from pipeline.reporting.versions import git_commit
from pipeline.training.ablation.figures import figures_of, milliseconds_per_chip
from pipeline.training.ablation.plan import Plan, SetPlan, Task
from pipeline.training.ablation.rows import (
    DETECTIONS_FILE,
    ROWS_FILE,
    add_row,
    made_of,
    read_rows,
    save_detections,
)
from pipeline.training.curves import read_metrics
from pipeline.training.data.scenes import TrainingScene, load_scenes
from pipeline.training.export import averaged_network, learner_of, training_card
from pipeline.training.judging import HALO_PX, sample
from pipeline.training.loop import METRICS_FILE
from pipeline.training.run_record import read_record
from pipeline.training.running import train
from pipeline.training.validation import detect_whole

Report = Callable[[str], None]
RUNS = "runs"
CHOOSE, REPORT = "choose", "report"
LOCK = ".lock"


def run_plan(plan: Plan, tasks: Sequence[Task], data: Path, out: Path, threads: int, report: Report) -> None:
    """Train and judge what has no row in ``out`` yet; ``data`` is the folder of all prepared scenes.

    Several processes may do the same plan in the same folder: each passes over what another is at. A training that
    diverges is said, and the others go on; then raises ModelError in the end.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows, failed = out / ROWS_FILE, []
    for number, task in enumerate(tasks, 1):
        label = f"[{number}/{len(tasks)}] {task.folder}"
        folder = out / RUNS / task.folder
        with _claimed(folder) as mine:
            if task.key in read_rows(rows):
                continue
            if not mine:
                report(f"{label}: another process is at it")
                continue
            report(label)
            try:
                figures = _figures(plan.sets[task.set_name], task, data, folder, threads, report)
            except ModelError as error:
                failed.append(f"{task.folder}: {error}")
                report(f"{label} failed: {error}")
                continue
            add_row(rows, task, figures)
            report(f"{label}: AP {100 * figures[REPORT]['ap']:.1f}  AP50 {100 * figures[REPORT]['ap50']:.1f}")
    if failed:
        raise ModelError(f"{len(failed)} of {len(tasks)} trainings failed, the first is {failed[0]}")


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether this process is the one that works in ``folder``; the system gives the claim back when it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _figures(own: SetPlan, task: Task, data: Path, folder: Path, threads: int, report: Report) -> dict[str, Any]:
    """Train, from the checkpoint where the run was cut, and judge the averaged weights of the last step."""
    begun, worked = time.monotonic(), time.process_time()
    train(task.recipe, folder, threads, report)
    trained = time.monotonic()
    torch.set_num_threads(threads)
    record = read_record(folder)
    assert record is not None
    network = averaged_network(folder)
    learner = learner_of(folder, network, record)
    card = training_card(task.recipe.name, record.named, record.gsd_m, own.tile_px, network.config, record.bands)
    detector = learner.detector(network, card)
    parameters = sum(one.numel() for one in network.parameters())
    judged: dict[str, Any] = {}
    for part, scenes in _parts(own, task, data).items():
        found = [detect_whole(detector, scene, HALO_PX) for scene in scenes]
        save_detections(folder / DETECTIONS_FILE.format(part=part), [scene.name for scene in scenes], found)
        judged[part] = figures_of(found, [scene.truth for scene in scenes])
    steps = [row for row in read_metrics(folder / METRICS_FILE) if "seconds_per_step" in row]
    last = [row for row in read_metrics(folder / METRICS_FILE) if "train_ap" in row][-1:]
    return {
        "steps": task.recipe.schedule.steps,
        "commit": git_commit(),
        "made_of": made_of(own, task, data),
        "parameters": parameters,
        "ms_per_chip": milliseconds_per_chip(detector),
        "threads": threads,
        "seconds_per_step": steps[-1]["seconds_per_step"] if steps else None,
        "seconds": {
            "training": trained - begun,
            "judging": time.monotonic() - trained,
            "cpu": time.process_time() - worked,
        },
        "train": {key: last[0][key] for key in ("train_ap", "train_ap50")} if last else None,
        **judged,
    }


def _parts(own: SetPlan, task: Task, data: Path) -> dict[str, list[TrainingScene]]:
    """What the trained network is judged on: scenes to choose by, where there are some, and those reported on."""
    parts = {}
    if own.choose:
        parts[CHOOSE] = sample(load_scenes(data / own.choose), own.report_scenes, empty=True)
    if own.report:
        every = load_scenes(data / own.report)
    else:
        held = task.recipe.data.hold_out
        folders = [Path(one.rpartition(":")[0] if ":" in one else one) for one in task.recipe.data.scenes]
        every = [scene for folder in folders for scene in load_scenes(folder) if scene.name in held]
    parts[REPORT] = sample(every, own.report_scenes, empty=True)
    return parts
