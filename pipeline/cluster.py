"""The executor over Ray: read tasks feed a pool of detector actors, and nothing that dies is lost.

A read is a task (CPU, retried by Ray, re-run by lineage when the node that holds its block goes away); a look is a
call of an actor that holds the detector. An actor is given one block at a time and the next block is read ahead
meanwhile, so when an actor dies it is known exactly which block it died over. The driver holds references only;
``workers * in_flight`` blocks are in the object store at most, whatever the size of the scene.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from pipeline import cluster_nodes
from pipeline.cluster_pool import Member, Pool, Work, load_failure, plain
from pipeline.config import ClusterConfig
from pipeline.errors import PipelineError
from pipeline.types import Block, BlockOutcome
from pipeline.worker import LoadDetector, ScenePlan, bisect, failed_block, read_block

POLL_S = 1.0
"""How often the pool looks up while nothing happens, seconds."""

_read_task: Any = ray.remote(max_retries=3)(read_block)


class RayExecutor:
    """Executor over a Ray cluster. A context manager: leaving it ends its actors, and the cluster if it started one."""

    def __init__(self, load: LoadDetector, config: ClusterConfig, say: Callable[[str], None]) -> None:
        self._load = load
        self._config = config
        self._say = say
        self._counts = {"blocks_recomputed": 0, "blocks_bisected": 0}
        self._owns_cluster = False

    def __enter__(self) -> RayExecutor:
        if not ray.is_initialized():
            self._owns_cluster = True
            cluster_nodes.connect(self._config)
        self._device = cluster_nodes.device_of(self._config)
        wanted = cluster_nodes.wanted_workers(self._config, self._device)
        self._pool = Pool(self._load, self._config, self._device, wanted, self._say)
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.close()
        if self._owns_cluster:
            ray.shutdown()

    def record(self) -> dict[str, Any]:
        """See :class:`pipeline.executors.Executor`."""
        staff = {"workers": self._pool.most_ready, "worker_deaths": self._pool.deaths}
        return {"executor": "ray", "ray": ray.__version__, "device": self._device, **staff, **self._counts}

    def check_visible(self, paths: Iterable[Path]) -> None:
        """See :class:`pipeline.executors.Executor`."""
        cluster_nodes.check_visible(paths, self._config.start_s)

    def map(self, plan: ScenePlan, blocks: Sequence[Block]) -> Iterator[BlockOutcome]:
        """See :class:`pipeline.executors.Executor`."""
        if not blocks:
            return
        plan_ref = ray.put(plan)
        todo = deque(Work(block, limit=self._config.max_attempts) for block in blocks)
        reading: list[Work] = []
        while todo or reading or self._pool.busy:
            self._pool.staff(len(todo) + len(reading))
            self._read_ahead(plan_ref, todo, reading)
            self._hand_out(plan_ref, reading)
            yield from self._collect(reading, todo)

    def _read_ahead(self, plan_ref: Any, todo: deque[Work], reading: list[Work]) -> None:
        """Keep a bounded number of blocks being read or waiting for an actor."""
        cpus = 1 if self._device == "cuda" else 0  # beside CPU actors a reading task would starve; it mostly waits
        while todo and len(reading) < max(1, self._pool.placed * self._config.in_flight - self._pool.busy):
            work = todo.popleft()
            work.pixels = _read_task.options(num_cpus=cpus, scheduling_strategy="SPREAD").remote(plan_ref, work.block)
            reading.append(work)

    def _hand_out(self, plan_ref: Any, reading: list[Work]) -> None:
        """Give blocks whose pixels are there to idle actors."""
        idle = self._pool.idle()
        if not idle or not reading:
            return
        ready, _ = ray.wait([work.pixels for work in reading], num_returns=len(reading), timeout=0, fetch_local=False)
        arrived = set(ready)
        for work in [work for work in reading if work.pixels in arrived][: len(idle)]:
            reading.remove(work)
            idle.pop().look(plan_ref, work)

    def _collect(self, reading: list[Work], todo: deque[Work]) -> Iterator[BlockOutcome]:
        """Wait until a step of an actor ends, or a read that an idle actor could take, and deal with it."""
        steps = {member.waiting_on: member for member in self._pool.members if member.waiting_on is not None}
        watched = [*steps, *(work.pixels for work in reading if self._pool.idle())]
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
        self._pool.watch_loading()

    def _finish(self, member: Member, reference: Any, todo: deque[Work]) -> BlockOutcome | None:
        """One step of one actor ended: placed, loaded, looked, failed or dead."""
        work = member.work
        try:
            value = ray.get(reference)
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if work is None:
                raise load_failure(cause) from error
            member.work = None
            return self._retry(work, cause, todo)
        except RayError as error:
            if isinstance(error, RayActorError) or work is None:
                self._pool.bury(member, error)
            member.work = None
            return self._retry(work, error, todo) if work is not None else None
        self._pool.advance(member)
        return value if work is not None else None

    def _retry(self, work: Work, error: Exception, todo: deque[Work]) -> BlockOutcome | None:
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
            return failed_block(work.block, plain(error), work.attempts)
        self._counts["blocks_bisected"] += 1
        for half in reversed(bisect(work.block)):
            todo.appendleft(Work(half, limit=2 if len(half.tiles) == 1 else 1))
        return None
