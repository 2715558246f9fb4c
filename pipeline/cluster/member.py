"""One actor of the pool, and the process behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray

from pipeline.cluster.watch import Flight
from pipeline.cluster.work import Place, Work, place_facts, this_process
from pipeline.engine.block import BlockPixels
from pipeline.engine.worker import LoadDetector, TileWorker
from pipeline.planning.plan import WorkOrder
from pipeline.types import Block, BlockOutcome


class _Host:
    """A process that holds a TileWorker. Placement (``__init__``) and loading are two steps, told apart on purpose."""

    def __init__(self) -> None:
        self._worker: TileWorker | None = None

    def place(self) -> Place:
        return this_process()

    def load(self, load_detector: LoadDetector) -> None:
        self._worker = TileWorker(load_detector())

    def look(self, order: WorkOrder, block: Block, pixels: BlockPixels) -> Iterator[int | BlockOutcome]:
        """A sign of life after every batch, and the outcome."""
        assert self._worker is not None
        yield from self._worker.steps(order, block, pixels)


host_actor: Any = ray.remote(max_restarts=0)(_Host)


@dataclass(slots=True, eq=False)
class Member:
    """One actor of the pool: placed, then loading, then ready; busy with at most one block."""

    actor: Any
    step: Any
    """What is awaited: a reference (placement, load) or a generator of references (look). None when idle."""
    phase: str = "placing"
    since: float = field(default_factory=time.monotonic)
    place: Place | None = None
    work: Work | None = None

    @property
    def idle(self) -> bool:
        return self.phase == "ready" and self.work is None

    def look(self, work: Work) -> None:
        """Start on a block whose pixels are there."""
        self.work = work
        work.begin(self.place)
        call = self.actor.look.options(num_returns="streaming", name=work.title("look"))
        self.step = call.remote(work.queue.order, work.block, work.pixels)

    def let_go(self) -> Work | None:
        """The block it was busy with, if any; it no longer is."""
        work, self.work, self.step = self.work, None, None
        return work

    def silent_s(self) -> float:
        """Seconds since the last sign of life of a loading or looking actor; 0 for others."""
        if self.phase == "loading":
            return time.monotonic() - self.since
        return time.monotonic() - self.work.sign if self.work and self.work.sign is not None else 0.0

    def flight(self) -> Flight:
        """What to say of it when nothing moves: of its block, or of itself while it has none."""
        if self.work is not None:
            return self.work.flight("looking")
        seconds = time.monotonic() - self.since
        return Flight(phase=self.phase, seconds=seconds, **place_facts(self.place))
