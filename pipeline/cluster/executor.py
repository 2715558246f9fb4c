"""The executor over Ray: read tasks feed a pool of detector actors, and nothing that dies is lost.

A read is a task (CPU, retried by Ray, re-run by lineage when the node that holds its block goes away); a look is a
call of an actor that holds the detector. An actor is given one block at a time and the next block is read ahead
meanwhile, so when an actor dies it is known exactly which block it died over. Both are generators that show signs of
life (the read began, a batch was looked at), and what shows none for ``cluster.deadline_s`` is ended as if it had died.
The driver holds references only; ``workers * in_flight`` blocks are in the object store at most, whatever the size of
the scene.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from pipeline.cluster.member import Member
from pipeline.cluster.metrics import RayExporter
from pipeline.cluster.nodes import check_visible, connected, device_of, wanted_workers
from pipeline.cluster.pool import Pool, load_failure, plain
from pipeline.cluster.tasks import run_tasks
from pipeline.cluster.watch import Flight, Watch
from pipeline.cluster.work import Place, Work, this_process
from pipeline.config import ClusterConfig
from pipeline.engine.bisection import GiveUp, Retry, Tried, failed_block, next_step
from pipeline.engine.block import BlockPixels, read_block
from pipeline.engine.worker import LoadDetector
from pipeline.errors import DeadlineExceeded
from pipeline.planning.plan import WorkOrder
from pipeline.raster.own_data import settle
from pipeline.reporting.journal import Journal
from pipeline.reporting.metrics import Metrics
from pipeline.retrying import PATIENCE
from pipeline.types import Block, BlockOutcome

POLL_S = 1.0
"""How often the executor looks up while nothing happens, seconds."""
TROUBLES = ("worker_deaths", "deadlines_exceeded", "blocks_recomputed", "blocks_bisected", "stuck")
"""What the record of the work counts."""


def _read(order: WorkOrder, block: Block) -> Iterator[Place | BlockPixels]:
    """The place at once, as a sign that the read began, and the pixels."""
    settle()
    yield this_process()
    yield read_block(order, block)


_read_task: Any = ray.remote(max_retries=PATIENCE.task_retries, num_returns="streaming")(_read)


@dataclass(slots=True, eq=False)
class _Queue:
    """The blocks of one scene that no actor holds."""

    scene_id: str
    order: Any
    """Reference to the scene's work order."""
    todo: deque[Work]
    reading: list[Work] = field(default_factory=list)
    """Being read, or read and waiting for an actor."""


class RayExecutor:
    """Executor over a Ray cluster. A context manager: leaving it ends its actors, and the cluster if it started one."""

    def __init__(self, load: LoadDetector, config: ClusterConfig, journal: Journal) -> None:
        self._load = load
        self._config = config
        self._journal = journal
        self._begun = ExitStack()

    def __enter__(self) -> RayExecutor:
        with ExitStack() as begun:  # nobody calls __exit__ when this raises
            if not ray.is_initialized():
                begun.enter_context(connected(self._config))
            self.metrics = Metrics(RayExporter())
            self._device = device_of(self._config)
            wanted = wanted_workers(self._config, self._device)
            self._pool = Pool(self._load, self._config, self._device, wanted, self._journal, self.metrics)
            begun.callback(self._pool.close)
            self._begun = begun.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._begun.close()

    def record(self) -> dict[str, Any]:
        """See :class:`pipeline.engine.executor.Executor`."""
        counts = {name: self.metrics.run.counts[name] for name in TROUBLES}
        staff = {"workers": self._pool.most_ready}
        return {"executor": "ray", "ray": ray.__version__, "device": self._device, **staff, **counts}

    def check_visible(self, paths: Iterable[Path]) -> None:
        """See :class:`pipeline.engine.executor.Executor`."""
        check_visible(paths, self._config.start_s)

    def map(self, order: WorkOrder, blocks: Sequence[Block]) -> Iterator[BlockOutcome]:
        """See :class:`pipeline.engine.executor.Executor`."""
        if not blocks:
            return
        queue = _Queue(order.scene.scene_id, ray.put(order), deque())
        limit = self._config.max_attempts
        queue.todo.extend(Work(Tried(block=block, limit=limit)) for block in blocks)
        watch = Watch(self._config.stuck_s, self._journal, self.metrics)
        while queue.todo or queue.reading or self._pool.busy:
            self._pool.staff(len(queue.todo) + len(queue.reading))
            self._read_ahead(queue)
            self._hand_out(queue)
            self.metrics.blocks(todo=len(queue.todo), reading=len(queue.reading), looking=self._pool.busy)
            for outcome in [*self._collect(queue), *self._give_up(queue)]:
                watch.finished()
                yield outcome
            watch.check(lambda: self._flights(queue))
        self.metrics.blocks(todo=0, reading=0, looking=0)

    def run(self, function: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        """See :class:`pipeline.engine.executor.Executor`."""
        return run_tasks(function, parts)

    def _read_ahead(self, queue: _Queue) -> None:
        """Keep a bounded number of blocks being read or waiting for an actor."""
        cpus = 1 if self._device == "cuda" else 0  # beside CPU actors a reading task would starve; it mostly waits
        bound = max(1, self._pool.placed * self._config.in_flight - self._pool.busy)
        while queue.todo and len(queue.reading) < bound:
            work = queue.todo.popleft()
            work.begin()
            task = _read_task.options(
                num_cpus=cpus, scheduling_strategy="SPREAD", name=work.title("read", queue.scene_id)
            )
            work.read = task.remote(queue.order, work.block)
            queue.reading.append(work)

    def _hand_out(self, queue: _Queue) -> None:
        """Give blocks whose pixels are there to idle actors."""
        idle = self._pool.idle()
        for work in [work for work in queue.reading if work.pixels is not None][: len(idle)]:
            queue.reading.remove(work)
            idle.pop().look(queue.order, work, queue.scene_id)

    def _collect(self, queue: _Queue) -> list[BlockOutcome]:
        """Wait until a read or an actor shows a sign of life, and deal with it."""
        steps = {member.step: member for member in self._pool.members if member.step is not None}
        reads = {work.read: work for work in queue.reading if work.pixels is None}
        watched = [*steps, *reads]
        if not watched:
            time.sleep(POLL_S)
            return []
        ready, _ = ray.wait(watched, num_returns=1, timeout=POLL_S, fetch_local=False)
        if ready:  # all that is there, or some would seem silent that only have to wait for us
            ready, _ = ray.wait(watched, num_returns=len(watched), timeout=0, fetch_local=False)
        ends = [self._read_on(reads[one], queue) if one in reads else self._step_on(steps[one], queue) for one in ready]
        self._pool.watch_loading()
        return [outcome for outcome in ends if outcome is not None]

    def _read_on(self, work: Work, queue: _Queue) -> BlockOutcome | None:
        """A read began, or its pixels are there (an error in their place comes to light in the look at them)."""
        reference = next(work.read)
        if work.place is not None:
            work.pixels = reference
            work.begin()
            return None
        try:
            work.begin(ray.get(reference))
        except RayError as error:
            queue.reading.remove(work)
            return self._retry(work, _cause(error), queue)
        return None

    def _step_on(self, member: Member, queue: _Queue) -> BlockOutcome | None:
        """An actor was placed, has loaded, is looking, has looked, failed or died."""
        work = member.work
        try:
            value = ray.get(member.step if work is None else next(member.step))
        except RayTaskError as error:
            if work is None:
                raise load_failure(_cause(error)) from error
            member.let_go()
            return self._retry(work, _cause(error), queue)
        except RayError as error:
            if isinstance(error, RayActorError) or work is None:
                self._pool.bury(member, error)
            member.let_go()
            return self._retry(work, error, queue) if work is not None else None
        if work is not None and member.place is not None and isinstance(value, int):
            work.alive(member.place)
            return None
        self._pool.advance(member, value)
        return value if work is not None else None

    def _give_up(self, queue: _Queue) -> Iterator[BlockOutcome]:
        """End the reads and the looks that have shown no sign of life for too long."""
        silent: list[tuple[Work | None, DeadlineExceeded]] = []
        limit_s = self._config.deadline_s
        for work in [work for work in queue.reading if work.pixels is None]:
            if work.sign is not None and time.monotonic() - work.sign > limit_s:
                ray.cancel(work.read, force=True)
                queue.reading.remove(work)
                self.metrics.count(deadlines_exceeded=1)
                silent.append(
                    (work, DeadlineExceeded(f"the read did not end within {limit_s:g} s (cluster.deadline_s)"))
                )
        silent += self._pool.kill_silent()
        for given_up, error in silent:
            outcome = self._retry(given_up, error, queue) if given_up is not None else None
            if outcome is not None:
                yield outcome

    def _retry(self, work: Work, error: Exception, queue: _Queue) -> BlockOutcome | None:
        """Queue what comes next of a block that went wrong; a single tile may end as Failed: see :func:`next_step`."""
        step = next_step(work.tried, error)
        if isinstance(step, GiveUp):
            return failed_block(step.tried, plain(error))
        if isinstance(step, Retry):
            self.metrics.count(blocks_recomputed=1)
            queue.todo.appendleft(Work(step.tried))
        else:
            self.metrics.count(blocks_bisected=1)
            queue.todo.extendleft([Work(step.second), Work(step.first)])
        return None

    def _flights(self, queue: _Queue) -> list[Flight]:
        """Every block on its way, and every worker that is not ready."""
        phases = [
            (work, "read" if work.pixels is not None else "reading" if work.place else "queued")
            for work in queue.reading
        ]
        looking = [member.flight() for member in self._pool.members if not member.idle]
        return [*looking, *(work.flight(phase) for work, phase in phases)]


def _cause(error: RayError) -> Exception:
    """What a task of ours raised, without Ray's wrapping."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    return cause if isinstance(cause, Exception) else error
