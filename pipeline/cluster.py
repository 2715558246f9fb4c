"""Ray's only home: read tasks feed a pool of detector actors, and nothing that dies is lost.

A read is a task (CPU, retried by Ray, re-run by lineage when the node that holds its block goes away); a look is a
call of an actor that holds the detector. An actor is given one block at a time and the next block is read ahead
meanwhile, so when an actor dies it is known exactly which block it died over. The driver holds references only;
``workers * in_flight`` blocks are in the object store at most, whatever the size of the scene.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.cluster_tasks import run_tasks
from pipeline.config import ClusterConfig, RunConfig
from pipeline.errors import ClusterError, ConfigError, PipelineError, SceneNotFound
from pipeline.types import Block, BlockOutcome
from pipeline.worker import (
    BlockPixels,
    LoadDetector,
    ScenePlan,
    TileWorker,
    bisect,
    failed_block,
    one_sentence,
    read_block,
)

POLL_S = 1.0
"""How often the pool looks up while nothing happens, seconds."""
ROOM_S = 30.0
"""How long an actor may wait for a place that its cluster has before the pool says that others hold it, seconds."""
LOAD_DEATHS = 3
"""Workers that may die while loading the model, before any has loaded it, until the job ends."""


def in_submitted_job() -> bool:
    """True inside ``ray job submit``, where the working directory is an unpacked copy of the submitter's."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def refuse_relative_paths(config: RunConfig) -> None:
    """Inside a submitted job a relative path names a place in the unpacked copy, never what its author meant.

    Raises ConfigError for the first one (ruling 12 of the README).
    """
    if not in_submitted_job():
        return
    named = [("--out", config.out), ("--aoi", config.aoi or "")]
    named += [("--scene", part) for uri in config.scene for part in uri.split(",")]
    if config.weights.startswith("."):
        named.append(("--weights", config.weights))
    for flag, path in named:
        if path and "://" not in path and not path.startswith("/"):
            raise ConfigError(
                f"{flag} {path} is a relative path, and a submitted job runs in an unpacked copy of the working "
                "directory; give an absolute path that every node sees, or an address such as s3://"
            )


def _missing(paths: list[str]) -> list[str]:
    return [path for path in paths if not Path(path).exists()]


class _Host:
    """A process that holds a TileWorker. Placement (``__init__``) and loading are two steps, told apart on purpose."""

    def __init__(self) -> None:
        self._worker: TileWorker | None = None

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    def load(self, load_detector: LoadDetector) -> str:
        self._worker = TileWorker(load_detector())
        return str(ray.get_runtime_context().get_node_id())

    def look(self, plan: ScenePlan, block: Block, pixels: BlockPixels) -> BlockOutcome:
        assert self._worker is not None
        return self._worker(plan, block, pixels)


_read_task: Any = ray.remote(max_retries=3)(read_block)
_missing_task: Any = ray.remote(num_cpus=0)(_missing)

_host_actor: Any = ray.remote(max_restarts=0)(_Host)


@dataclass(slots=True, eq=False)
class _Member:
    """One actor of the pool: placed, then loading, then ready; busy with at most one block."""

    actor: Any
    waiting_on: Any
    """Reference to the running step: placement, load or look. None when idle."""
    phase: str = "placing"
    since: float = field(default_factory=time.monotonic)
    work: _Work | None = None


@dataclass(slots=True, eq=False)
class _Work:
    """One block on its way, and how often it went wrong."""

    block: Block
    attempts: int = 0
    limit: int = 1
    pixels: Any = None
    """Reference to the block's pixels; None until its read was submitted."""


class RayExecutor:
    """Executor over a Ray cluster. A context manager: leaving it ends its actors, and the cluster if it started one."""

    def __init__(self, load: LoadDetector, config: ClusterConfig, say: Callable[[str], None]) -> None:
        self._load = load
        self._config = config
        self._say = say
        self._members: list[_Member] = []
        self._counts = {"workers": 0, "worker_deaths": 0, "blocks_recomputed": 0, "blocks_bisected": 0}
        self._load_deaths = 0
        self._loaded_once = False
        self._said_room: int | None = None
        self._owns_cluster = False

    # -- life of the pool ---------------------------------------------------------------------------------------

    def __enter__(self) -> RayExecutor:
        if not ray.is_initialized():
            self._connect()
        self._device = _device(self._config.device)
        self._wanted = _wanted_workers(self._config, self._device)
        return self

    def __exit__(self, *exc: object) -> None:
        for member in self._members:
            ray.kill(member.actor)
        self._members = []
        if self._owns_cluster:
            ray.shutdown()

    def _connect(self) -> None:
        address = self._config.address or os.environ.get("RAY_ADDRESS")
        self._owns_cluster = True
        try:
            ray.init(
                address=address,
                include_dashboard=False if address is None else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "a new local cluster"
            raise ClusterError(
                f"cannot connect to Ray at {where}: {str(error).splitlines()[0]}; check --cluster.address, or use "
                "--executor local"
            ) from error

    def record(self) -> dict[str, Any]:
        """See :class:`pipeline.executors.Executor`."""
        return {"executor": "ray", "ray": ray.__version__, "device": self._device, **self._counts}

    def check_visible(self, paths: Iterable[Path]) -> None:
        """See :class:`pipeline.executors.Executor`."""
        names = sorted({str(path) for path in paths})
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if not names or len(nodes) < 2:
            return
        asked = {}
        for node in nodes:
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[_missing_task.options(scheduling_strategy=strategy).remote(names)] = node["NodeManagerAddress"]
        for reference, address in asked.items():
            for name in ray.get(reference, timeout=self._config.start_s):
                raise SceneNotFound(
                    f"{name} is not visible on node {address} of the cluster; put it on storage that every node sees, "
                    "for example s3:// or a shared file system"
                )

    # -- work ---------------------------------------------------------------------------------------------------

    def map(self, plan: ScenePlan, blocks: Sequence[Block]) -> Iterator[BlockOutcome]:
        """See :class:`pipeline.executors.Executor`."""
        if not blocks:
            return
        plan_ref = ray.put(plan)
        todo = deque(_Work(block, limit=self._config.max_attempts) for block in blocks)
        reading: list[_Work] = []
        while todo or reading or any(member.work for member in self._members):
            self._staff(len(todo) + len(reading))
            self._read_ahead(plan_ref, todo, reading)
            self._hand_out(plan_ref, reading)
            yield from self._collect(reading, todo)

    def run(self, function: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        """See :class:`pipeline.executors.Executor`."""
        return run_tasks(function, parts)

    def _read_ahead(self, plan_ref: Any, todo: deque[_Work], reading: list[_Work]) -> None:
        """Keep a bounded number of blocks being read or waiting for an actor."""
        placed = sum(1 for member in self._members if member.phase != "placing")
        busy = sum(1 for member in self._members if member.work)
        cpus = 1 if self._device == "cuda" else 0  # beside CPU actors a reading task would starve; it mostly waits
        while todo and len(reading) < max(1, placed * self._config.in_flight - busy):
            work = todo.popleft()
            work.pixels = _read_task.options(num_cpus=cpus, scheduling_strategy="SPREAD").remote(plan_ref, work.block)
            reading.append(work)

    def _hand_out(self, plan_ref: Any, reading: list[_Work]) -> None:
        """Give blocks whose pixels are there to idle actors."""
        idle = [member for member in self._members if member.phase == "ready" and member.work is None]
        if not idle or not reading:
            return
        ready, _ = ray.wait([work.pixels for work in reading], num_returns=len(reading), timeout=0, fetch_local=False)
        arrived = set(ready)
        for work in [work for work in reading if work.pixels in arrived][: len(idle)]:
            member = idle.pop()
            reading.remove(work)
            member.work = work
            member.waiting_on = member.actor.look.remote(plan_ref, work.block, work.pixels)
            member.since = time.monotonic()

    def _collect(self, reading: list[_Work], todo: deque[_Work]) -> Iterator[BlockOutcome]:
        """Wait until a step of an actor ends, or a read that an idle actor could take, and deal with it."""
        steps = {member.waiting_on: member for member in self._members if member.waiting_on is not None}
        idle = any(member.phase == "ready" and member.work is None for member in self._members)
        watched = [*steps, *(work.pixels for work in reading if idle)]
        if not watched:
            time.sleep(POLL_S)
            return
        ready, _ = ray.wait(watched, num_returns=1, timeout=POLL_S, fetch_local=False)
        for reference in ready:
            if reference in steps:
                member = steps[reference]
                member.waiting_on = None
                outcome = self._finish(member, reference, todo)
                if outcome is not None:
                    yield outcome
        self._watch_loading()

    def _finish(self, member: _Member, reference: Any, todo: deque[_Work]) -> BlockOutcome | None:
        """One step of one actor ended: placed, loaded, looked, failed or dead."""
        work = member.work
        try:
            value = ray.get(reference)
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if work is None:
                raise _load_failure(cause) from error
            member.work = None
            return self._retry(work, cause, todo)
        except RayError as error:
            if isinstance(error, RayActorError) or work is None:
                self._bury(member, error)
            member.work = None
            return self._retry(work, error, todo) if work is not None else None
        self._advance(member)
        return value if work is not None else None

    def _advance(self, member: _Member) -> None:
        member.work = None
        member.since = time.monotonic()
        if member.phase == "placing":
            member.phase = "loading"
            member.waiting_on = member.actor.load.remote(self._load)
        elif member.phase == "loading":
            member.phase = "ready"
            self._loaded_once = True
            self._counts["workers"] = max(
                self._counts["workers"], sum(1 for one in self._members if one.phase == "ready")
            )

    # -- failure ------------------------------------------------------------------------------------------------

    def _retry(self, work: _Work, error: Exception, todo: deque[_Work]) -> BlockOutcome | None:
        """Queue a block again, or its halves when it went wrong too often; a single tile then ends as Failed."""
        work.attempts += 1
        work.pixels = None
        if isinstance(error, PipelineError) and not error.retryable:
            work.attempts = max(work.attempts, work.limit)
        if work.attempts < work.limit:
            self._counts["blocks_recomputed"] += 1
            todo.appendleft(work)
            return None
        if len(work.block.tiles) == 1:
            return failed_block(work.block, _plain(error), work.attempts)
        self._counts["blocks_bisected"] += 1
        for half in reversed(bisect(work.block)):
            todo.appendleft(_Work(half, limit=2 if len(half.tiles) == 1 else 1))
        return None

    def _bury(self, member: _Member, error: RayError) -> None:
        self._members.remove(member)
        self._counts["worker_deaths"] += 1
        self._say(f"a worker died while {member.phase if member.work is None else 'looking'}; replacing it")
        if member.phase == "loading" and not self._loaded_once:
            self._load_deaths += 1
            if self._load_deaths >= LOAD_DEATHS:
                raise ClusterError(
                    f"{self._load_deaths} workers died while loading the model ({_plain(error)}); look at "
                    "the memory of the nodes and at the workers' logs"
                ) from error

    def _watch_loading(self) -> None:
        """Nobody has ever loaded the model, and somebody has been trying for too long."""
        if self._loaded_once:
            return
        loading = [member.since for member in self._members if member.phase == "loading"]
        if loading and time.monotonic() - min(loading) > self._config.start_s:
            raise ClusterError(
                f"no worker has loaded the model within {self._config.start_s:g} s; raise --cluster.start_s if it is "
                "merely large, else look at the workers' logs"
            )

    # -- staffing -----------------------------------------------------------------------------------------------

    def _staff(self, blocks: int) -> None:
        """Ask for the actors that are wanted and useful; say so, and wait bounded, while there is no room for them.

        Actors without room stay in Ray's queue on purpose: an autoscaler starts nodes for what it sees there.
        """
        useful = blocks + sum(1 for member in self._members if member.work)
        for _ in range(min(self._wanted, useful) - len(self._members)):
            actor = _host_actor.options(**self._needs()).remote()
            self._members.append(_Member(actor, actor.node.remote()))
        waiting = [member.since for member in self._members if member.phase == "placing"]
        if not waiting:
            return
        waited_s = time.monotonic() - min(waiting)
        placed = len(self._members) - len(waiting)
        room = placed if waited_s > ROOM_S else _room(self._needs())
        if room < len(self._members) and room != self._said_room:
            self._said_room = room
            going = "going on with those" if room else f"waiting up to {self._config.wait_s:g} s for a node"
            self._say(f"the cluster has room for {room} of the {len(self._members)} workers asked for; {going}")
        if not placed and waited_s > self._config.wait_s:
            raise ClusterError(
                f"the cluster had no room for a worker ({_words(self._needs())}) for {self._config.wait_s:g} s; add a "
                "node, or lower --cluster.threads"
            )

    def _needs(self) -> dict[str, float]:
        gpus = 1.0 if self._device == "cuda" else 0.0
        return {"num_cpus": float(self._config.threads), "num_gpus": gpus}


def _device(wanted: str) -> str:
    gpus = ray.cluster_resources().get("GPU", 0)
    if wanted == "cuda" and not gpus:
        raise ClusterError("--cluster.device cuda, but the cluster has no GPU; use --cluster.device auto or cpu")
    return "cuda" if gpus and wanted != "cpu" else "cpu"


def _wanted_workers(config: ClusterConfig, device: str) -> int:
    if config.workers != "auto":
        return config.workers
    total = ray.cluster_resources()
    if device == "cuda":
        return max(1, int(total.get("GPU", 1)))
    return max(1, int(total.get("CPU", 1) // config.threads))


def _room(needs: dict[str, float]) -> int:
    """How many workers the cluster's nodes could hold if nothing else ran on them."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    return sum(
        min(int(node["Resources"].get(names[key], 0) // amount) for key, amount in needs.items() if amount)
        for node in ray.nodes()
        if node["Alive"]
    )


def _load_failure(cause: Exception) -> PipelineError:
    if isinstance(cause, PipelineError):
        return cause
    return ClusterError(f"a worker could not load the model: {type(cause).__name__}: {_plain(cause)}")


def _plain(error: Exception) -> Exception:
    """The error without Ray's traceback: a worker's death in one sentence, an error of ours as it is."""
    if isinstance(error, RayActorError):
        return ClusterError("the worker process died while looking at this tile")
    if isinstance(error, RayError):
        return ClusterError(one_sentence(error))
    return error


def _words(needs: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {key.removeprefix('num_')}" for key, amount in needs.items() if amount)
