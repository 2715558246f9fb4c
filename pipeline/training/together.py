"""One training on several workers, on this machine or on the nodes of a cluster: the same steps as by one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.errors import ConfigError, one_sentence
from pipeline.training.recipe import Recipe
from pipeline.training.running import made_training, train

Report = Callable[[str], None]


def train_together(recipe: Recipe, out: Path, threads: int, workers: tuple[int, int], report: Report) -> None:
    """:func:`~pipeline.training.running.train` on (least, most) workers of Ray Train; ``threads`` each.

    All of them read the scenes and write the run, so their folders must be seen from every node. Raises as ``train``
    does, ConfigError too for more workers than tiles and for losses that weigh a batch as a whole, ClusterError when
    the workers break again and again.
    """
    least, most = workers
    if most > recipe.schedule.tiles:
        raise ConfigError(
            f"--workers {most}, but a step has {recipe.schedule.tiles} tiles: give as many --tiles, or fewer workers"
        )
    if not recipe.family.oriented:
        raise ConfigError(
            "--workers trains this program's own networks; the transformers library's losses count the objects of one "
            "process: leave --workers out"
        )
    for name in ("sample_weights", "dynamic_balance"):
        if getattr(recipe.losses, name, False):
            raise ConfigError(
                f"losses.{name} weighs all objects of a step together, which several workers do not see: leave it out, "
                "or --workers"
            )
    made_training(_as_here(recipe), out, threads, report)  # what does not fit is said before anything is started
    try:  # here: training alone needs no Ray
        from pipeline.cluster.training import Group, on_workers
    except ImportError as error:
        raise ConfigError(
            f"--workers needs Ray Train, of Ray 2.60 or later ({one_sentence(error)}): pip install "
            "'kestrel-aerial[workers]'"
        ) from error
    gpu = recipe.schedule.device != "cpu"
    on_workers(
        _train_rank, (recipe, out, threads), Group(least=least, most=most, threads=threads, gpu=gpu), out, report
    )


def _as_here(recipe: Recipe) -> Recipe:
    """The recipe as this process can make it: the GPUs of a cluster are not this machine's. Raises ConfigError for a
    device of one number, as every worker has its own."""
    device = recipe.schedule.device
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: with --workers it is cpu or cuda, and each worker gets one of its own")
    if os.environ.get("RAY_ADDRESS", "local") == "local":
        return recipe
    return replace(recipe, schedule=replace(recipe.schedule, device="cpu"))


def _train_rank(given: tuple[Recipe, Path, int], device: str, report: Report) -> None:
    """On a worker: the training, on the device that is its own."""
    recipe, out, threads = given
    train(replace(recipe, schedule=replace(recipe.schedule, device=device)), out, threads, report)
