"""Blocks → actors: read tasks feed a pool of detector actors, and nothing that dies is lost.

A read is a task (CPU, retried by Ray, re-run by lineage when the node that holds its block goes away); a look is a
call of an actor that holds the detector. An actor is given one block at a time and the next block is read ahead
meanwhile, so when an actor dies it is known exactly which block it died over. Both are generators that show signs of
life (the read began, a batch was looked at), and what shows none for ``cluster.deadline_s`` is ended as if it had died.
The driver holds references only; ``workers * in_flight`` blocks are in the object store at most, whatever the size and
the number of the scenes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from pipeline.cluster.member import Member
from pipeline.cluster.pool import Pool, load_failure, plain
from pipeline.cluster.watch import Flight, Watch
from pipeline.cluster.work import Place, Queue, Work, this_process
from pipeline.config import ClusterConfig
from pipeline.engine.bisection import GiveUp, Retry, failed_block, next_step
from pipeline.engine.block import BlockPixels, read_block
from pipeline.errors import ClusterError, DeadlineExceeded
from pipeline.planning.plan import WorkOrder
from pipeline.raster.own_data import settle
from pipeline.reporting.journal import Journal
from pipeline.reporting.metrics import Metrics
from pipeline.retrying import PATIENCE
from pipeline.types import Block, BlockOutcome

POLL_S, EAGER_S = 1.0, 0.05
"""How often the dispatcher looks up while nothing happens, seconds; eagerly while an actor could take another block."""
LEAST_UNTAKEN = 4
"""Outcomes of a scene that may wait to be taken before no more of its blocks are looked at, or one a worker: bounds
memory when the store is slower than the detectors."""
CLOSING_S = 5.0
"""How long its end is waited for: the actors are ended after it anyway."""


def _read(order: WorkOrder, block: Block) -> Iterator[Place | BlockPixels]:
    """The place at once, as a sign that the read began, and the pixels."""
    settle()
    yield this_process()
    yield read_block(order, block)


_read_task: Any = ray.remote(max_retries=PATIENCE.task_retries, num_returns="streaming")(_read)


class Dispatcher:
    """The one thread that works off the queues of all scenes; the scene that came first has the first go.

    What ends the work (no worker can load the model, no room for one) ends it for every scene that waits.
    """

    def __init__(self, pool: Pool, config: ClusterConfig, device: str, journal: Journal, metrics: Metrics) -> None:
        self._pool, self._config, self._device, self._metrics = pool, config, device, metrics
        self._watch = Watch(config.stuck_s, journal, metrics)
        self._queues: list[Queue] = []
        self._arrived: list[Queue] = []
        self._news = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def add(self, queue: Queue) -> None:
        """Work on one more scene."""
        with self._news:
            self._arrived.append(queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="dispatcher", daemon=True)
                self._thread.start()
            self._news.notify()

    def close(self) -> None:
        """Hand out nothing more."""
        with self._news:
            self._closing = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(CLOSING_S)

    def _work(self) -> None:
        while self._await_scenes():
            try:
                self._round()
            except BaseException as error:  # noqa: BLE001 - raised in every thread that waits
                self._remove(self._queues, error)

    def _await_scenes(self) -> bool:
        """Take in scenes that have come; wait for one where there is none. False when there is nothing more to do."""
        with self._news:
            if not self._queues:
                self._news.wait_for(lambda: self._closing or self._arrived)
                self._watch.finished()
            self._queues += self._arrived
            self._arrived = []
            closing = self._closing
        if closing:
            self._remove(self._queues, ClusterError("the pool of workers was closed"))
        return not closing

    def _remove(self, queues: Sequence[Queue], error: BaseException | None) -> None:
        """These are worked on no longer; what actors still look at of them comes to nothing."""
        for queue in list(queues):
            queue.end(error)
            self._queues.remove(queue)

    def _round(self) -> None:
        """One look at everything."""
        self._remove([queue for queue in self._queues if queue.abandoned], None)
        self._pool.staff(sum(queue.waiting for queue in self._queues))
        self._read_ahead()
        self._hand_out()
        self._count()
        for queue, outcome in [*self._collect(), *self._give_up()]:
            self._watch.finished()
            queue.put(outcome)
        looking = self._looking()
        self._remove([queue for queue in self._queues if not queue.waiting and not looking[id(queue)]], None)
        if self._queues:
            self._watch.check(self._flights)
        else:
            self._count()

    def _looking(self) -> Counter[int]:
        """How many blocks of each queue, by its ``id``, an actor holds."""
        return Counter(id(member.work.queue) for member in self._pool.members if member.work is not None)

    def _count(self) -> None:
        """Tell the metrics of each scene, and those of all, where the blocks are."""
        looking = self._looking()
        for queue in self._queues:
            queue.metrics.blocks(todo=len(queue.todo), reading=len(queue.reading), looking=looking[id(queue)])
        self._metrics.blocks(
            todo=sum(len(queue.todo) for queue in self._queues),
            reading=sum(len(queue.reading) for queue in self._queues),
            looking=looking.total(),
        )

    def _read_ahead(self) -> None:
        """Keep a bounded number of blocks being read or waiting for an actor."""
        cpus = 1 if self._device == "cuda" else 0  # beside CPU actors a reading task would starve; it mostly waits
        bound = max(1, self._pool.placed * self._config.in_flight - self._pool.busy)
        room = bound - sum(len(queue.reading) for queue in self._queues)
        for queue in self._open():
            while queue.todo and room > 0:
                room -= 1
                work = queue.todo.popleft()
                work.begin()
                task = _read_task.options(num_cpus=cpus, scheduling_strategy="SPREAD", name=work.title("read"))
                work.read = task.remote(queue.order, work.block)
                queue.reading.append(work)

    def _hand_out(self) -> None:
        """Give blocks whose pixels are there to idle actors."""
        idle = self._pool.idle()
        for queue in self._open():
            for work in [work for work in queue.reading if work.pixels is not None][: len(idle)]:
                queue.reading.remove(work)
                idle.pop().look(work)

    def _open(self) -> list[Queue]:
        """The queues that may go on: where outcomes are not taken as fast as they come, no more are made."""
        most = max(LEAST_UNTAKEN, self._pool.placed)
        return [queue for queue in self._queues if queue.untaken < most]

    def _collect(self) -> list[tuple[Queue, BlockOutcome]]:
        """Wait until a read or an actor shows a sign of life, and deal with it."""
        steps = {member.step: member for member in self._pool.members if member.step is not None}
        reads = {work.read: work for queue in self._queues for work in queue.reading if work.pixels is None}
        watched = [*steps, *reads]
        wait_s = EAGER_S if self._pool.idle() else POLL_S
        if not watched:
            time.sleep(EAGER_S)
            return []
        ready, _ = ray.wait(watched, num_returns=1, timeout=wait_s, fetch_local=False)
        if ready:  # all that is there, or some would seem silent that only have to wait for us
            ready, _ = ray.wait(watched, num_returns=len(watched), timeout=0, fetch_local=False)
        ends = [self._read_on(reads[one]) if one in reads else self._step_on(steps[one]) for one in ready]
        self._pool.watch_loading()
        return [end for end in ends if end is not None]

    def _read_on(self, work: Work) -> tuple[Queue, BlockOutcome] | None:
        """A read began, or its pixels are there (an error in their place comes to light in the look at them)."""
        reference = next(work.read)
        if work.place is not None:
            work.pixels = reference
            work.begin()
            return None
        try:
            work.begin(ray.get(reference))
        except RayError as error:
            work.queue.reading.remove(work)
            return self._retry(work, _cause(error))
        return None

    def _step_on(self, member: Member) -> tuple[Queue, BlockOutcome] | None:
        """An actor was placed, has loaded, is looking, has looked, failed or died."""
        work = member.work
        try:
            value = ray.get(member.step if work is None else next(member.step))
        except RayTaskError as error:
            if work is None:
                raise load_failure(_cause(error)) from error
            member.let_go()
            return self._retry(work, _cause(error))
        except RayError as error:
            if isinstance(error, RayActorError) or work is None:
                self._pool.bury(member, error)
            member.let_go()
            return self._retry(work, error) if work is not None else None
        if work is not None and member.place is not None and isinstance(value, int):
            work.alive(member.place)
            return None
        self._pool.advance(member, value)
        return (work.queue, value) if work is not None else None

    def _give_up(self) -> Iterator[tuple[Queue, BlockOutcome]]:
        """End the reads and the looks that have shown no sign of life for too long."""
        silent: list[tuple[Work | None, DeadlineExceeded]] = []
        limit_s = self._config.deadline_s
        for work in [work for queue in self._queues for work in queue.reading if work.pixels is None]:
            if work.sign is not None and time.monotonic() - work.sign > limit_s:
                ray.cancel(work.read, force=True)
                work.queue.reading.remove(work)
                work.queue.metrics.count(deadlines_exceeded=1)
                silent.append(
                    (work, DeadlineExceeded(f"the read did not end within {limit_s:g} s (cluster.deadline_s)"))
                )
        silent += self._pool.kill_silent()
        for given_up, error in silent:
            end = self._retry(given_up, error) if given_up is not None else None
            if end is not None:
                yield end

    def _retry(self, work: Work, error: Exception) -> tuple[Queue, BlockOutcome] | None:
        """Queue what comes next of a block that went wrong; a single tile may end as Failed: see :func:`next_step`."""
        step, queue = next_step(work.tried, error), work.queue
        if isinstance(step, GiveUp):
            return queue, failed_block(step.tried, plain(error))
        if isinstance(step, Retry):
            queue.metrics.count(blocks_recomputed=1)
            queue.todo.appendleft(Work(step.tried, queue))
        else:
            queue.metrics.count(blocks_bisected=1)
            queue.todo.extendleft([Work(step.second, queue), Work(step.first, queue)])
        return None

    def _flights(self) -> list[Flight]:
        """Every block on its way, and every worker that is not ready."""
        phases = [
            (work, "read" if work.pixels is not None else "reading" if work.place else "queued")
            for queue in self._queues
            for work in queue.reading
        ]
        looking = [member.flight() for member in self._pool.members if not member.idle]
        return [*looking, *(work.flight(phase) for work, phase in phases)]


def _cause(error: RayError) -> Exception:
    """What a task of ours raised, without Ray's wrapping."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    return cause if isinstance(cause, Exception) else error
