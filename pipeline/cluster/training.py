"""A function on several workers of Ray Train that make one group of torch.distributed: what trains is not known here.

A worker that dies ends the group; Ray starts another one, of as many workers as there is room for, and the function
begins again: going on from what it kept is its own affair.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.queue import Empty, Queue

from pipeline.cluster.nodes import connected
from pipeline.config import ClusterConfig
from pipeline.errors import ClusterError, ConfigError, PipelineError, one_sentence

Report = Callable[[str], None]
Ranked = Callable[[Any, str, Report], None]
"""What every worker does: argument, its device (``cpu``, ``cuda:1``), and who is told."""
FAILURES = 3
"""How often a group may break before that is given up."""
FOLDER = ".ray"
"""What Ray Train keeps of a go, in the folder of the run; gone afterwards."""
ENDED = "ended_"
"""Begins the names of empty files there, one for every worker that an error of ours has ended."""
OTHERS_S = 5.0
"""How long a worker that such an error ended waits for the others to come to the same: what is wrong with the data all
of them find, at about the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """How many train together, and where."""

    least: int
    most: int
    """More than ``least``: as many as there is room for, and fewer after a node was lost."""
    threads: int
    """CPU cores of each."""
    gpu: bool
    """A GPU each."""


def on_workers(function: Ranked, argument: Any, group: Group, out: Path, report: Report) -> None:
    """``function`` on every worker of ``group``, until all are done. ``out`` is a folder that all workers see.

    What the first worker reports is told here. Raises the first PipelineError that ended a worker, and with it all of
    them; ClusterError when there is no cluster, or the group broke more than FAILURES times, ConfigError where this
    machine is the cluster and has no room for them.
    """
    with contextlib.ExitStack() as begun:
        grows = ray.is_initialized() or bool(os.environ.get("RAY_ADDRESS"))
        if not ray.is_initialized():
            begun.enter_context(connected(ClusterConfig()))
        if lacking := lacking_resources(group, ray.cluster_resources()):
            if not grows:
                raise ConfigError(f"{lacking}: ask for fewer --workers or --threads, or name a cluster in RAY_ADDRESS")
            report(f"  {lacking}: waiting for nodes that join")
        lines = Queue(actor_options={"num_cpus": 0})
        begun.callback(lines.shutdown)
        folder = out.absolute() / FOLDER
        begun.callback(shutil.rmtree, folder, ignore_errors=True)
        trainer = ray.train.torch.TorchTrainer(
            _rank,
            train_loop_config={
                "function": function,
                "argument": argument,
                "lines": lines,
                "folder": str(Path.cwd()),
                "ends": str(folder),
            },
            scaling_config=ray.train.ScalingConfig(
                num_workers=group.least if group.least == group.most else (group.least, group.most),
                use_gpu=group.gpu,
                resources_per_worker={"CPU": group.threads, **({"GPU": 1} if group.gpu else {})},
            ),
            run_config=ray.train.RunConfig(
                name=uuid.uuid4().hex,
                storage_path=str(folder),
                failure_config=ray.train.FailureConfig(max_failures=FAILURES),
            ),
            torch_config=ray.train.torch.TorchConfig(backend="nccl" if group.gpu else "gloo"),
        )
        broken: TrainingFailedError | None = None
        with _told(lines, report) as ended, _interrupted_as_always():
            try:
                trainer.fit()
            except TrainingFailedError as error:
                broken = error
        if ended:
            raise ended[0]
        if broken is not None:
            raise ClusterError(
                f"the workers of this training broke {FAILURES + 1} times, the last time so: {one_sentence(broken)}; "
                "the same command goes on from the last checkpoint"
            ) from broken


@contextlib.contextmanager
def _interrupted_as_always() -> Iterator[None]:
    """Inside, Ctrl-C is KeyboardInterrupt, and afterwards what it was: Ray Train puts a handler of its own in its
    place, which ends the process with 0, and leaves it there."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def lacking_resources(group: Group, there: Mapping[str, float]) -> str | None:
    """What the cluster has too little of for the smallest group, in words."""
    wanted = {"CPU": group.least * group.threads, "GPU": group.least if group.gpu else 0}
    short = [
        f"{there.get(name, 0):g} of {count} {name}s" for name, count in wanted.items() if there.get(name, 0) < count
    ]
    return f"the cluster has {' and '.join(short)} that {group.least} workers take" if short else None


def _rank(given: dict[str, Any]) -> None:
    """On a worker: do it. An error that is one of ours, which no second try would mend, ends all workers.

    Where it ends one alone the others wait for it, for the half hour of torch's patience: it breaks, so that Ray ends
    them and starts the group again, which has nothing to do then.
    """
    ends = Path(given["ends"])
    if any(ends.glob(f"{ENDED}*")):
        return
    if Path(given["folder"]).is_dir():
        os.chdir(given["folder"])
    context = ray.train.get_context()
    report: Report = given["lines"].put if context.get_world_rank() == 0 else _silent
    try:
        given["function"](given["argument"], str(ray.train.torch.get_device()), report)
    except PipelineError as error:
        given["lines"].put(error)
        ends.mkdir(parents=True, exist_ok=True)
        (ends / f"{ENDED}{context.get_world_rank()}").touch()
        if not _all_ended(ends, context.get_world_size()):
            raise


def _all_ended(ends: Path, count: int) -> bool:
    """Whether so many workers have ended, soon."""
    until = time.monotonic() + OTHERS_S
    while len(list(ends.glob(f"{ENDED}*"))) < count:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _silent(_: str) -> None:
    """Of several workers one speaks."""


@contextlib.contextmanager
def _told(lines: Queue, report: Report) -> Iterator[list[PipelineError]]:
    """Inside, what arrives in ``lines`` is reported; what is left is at the end. The errors among it are given."""
    ended, errors = threading.Event(), list[PipelineError]()

    def tell() -> None:
        while True:
            over = ended.is_set()
            try:
                line = lines.get(timeout=0.5)
                if isinstance(line, PipelineError):
                    errors.append(line)
                else:
                    report(line)
            except Empty:
                if over:
                    return

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield errors
    finally:
        ended.set()
        teller.join(timeout=10)
