"""A block on its way through the cluster, the processes it passes, and the blocks of its scene."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import ray

from pipeline.cluster.watch import Flight
from pipeline.engine.bisection import Tried
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.metrics import Metrics
from pipeline.threads import LOOK_UP_S, look_up
from pipeline.types import Block, BlockOutcome


@dataclass(frozen=True, slots=True)
class Place:
    """A process of the cluster."""

    node: str
    """Address of its machine."""
    pid: int


def this_process() -> Place:
    """This process."""
    return Place(ray.util.get_node_ip_address(), os.getpid())


def place_facts(place: Place | None) -> dict[str, Any]:
    """What a log says of a place, or of none."""
    return {"node": None, "pid": None} if place is None else {"node": place.node, "pid": place.pid}


@dataclass(slots=True, eq=False)
class Work:
    """One block on its way, and how often it went wrong."""

    tried: Tried
    queue: Queue
    """Of its scene."""
    read: Any = None
    """The running read, a generator of references: its place, as a sign that it began, and the pixels."""
    pixels: Any = None
    """Reference to the block's pixels; None until they are there."""
    place: Place | None = None
    """Who reads or looks; None while the read is queued."""
    since: float = field(default_factory=time.monotonic)
    """When the present phase began."""
    sign: float | None = None
    """The last sign of life in this phase; None while there can be none."""

    @property
    def block(self) -> Block:
        return self.tried.block

    def title(self, doing: str) -> str:
        """What Ray's lists and dashboard show of it."""
        return f"{doing} {self.queue.scene_id} block {self.block.block_id} ({self.block.tiles[0].tile_id})"

    def alive(self, place: Place) -> None:
        """A sign of life from ``place``."""
        self.place, self.sign = place, time.monotonic()

    def begin(self, place: Place | None = None) -> None:
        """The next phase begins."""
        self.place, self.since = place, time.monotonic()
        self.sign = self.since if place is not None else None

    def flight(self, phase: str) -> Flight:
        """What to say of it when nothing moves."""
        now = time.monotonic()
        return Flight(
            phase=phase,
            seconds=now - self.since,
            silent_s=None if self.sign is None else now - self.sign,
            scene_id=self.queue.scene_id,
            block_id=self.block.block_id,
            tiles=len(self.block.tiles),
            first_tile=self.block.tiles[0].tile_id,
            **place_facts(self.place),
        )


class Queue:
    """The blocks of one scene, and what came of them.

    The dispatcher's thread works on it; :meth:`outcomes` is for the thread that wants them.
    """

    def __init__(self, order: WorkOrder, blocks: Sequence[Block], max_attempts: int, metrics: Metrics) -> None:
        self.scene_id = order.scene.scene_id
        self.order: Any = ray.put(order)
        """Reference to the scene's work order."""
        self.metrics = metrics
        """Of the scene."""
        self.todo = deque(Work(Tried(block=block, limit=max_attempts), self) for block in blocks)
        self.reading: list[Work] = []
        """Being read, or read and waiting for an actor."""
        self.abandoned = False
        """Nobody wants the outcomes any more."""
        self._said: SimpleQueue[BlockOutcome | BaseException | None] = SimpleQueue()

    def outcomes(self) -> Iterator[BlockOutcome]:
        """As they come, until all blocks have ended. Raises what ends the work of all scenes, or Halted.

        Who takes no more of them, for whatever reason, has abandoned the scene.
        """
        try:
            while True:
                look_up()
                try:
                    said = self._said.get(timeout=LOOK_UP_S)
                except Empty:
                    continue
                if said is None:
                    return
                if isinstance(said, BaseException):
                    raise said
                yield said
        finally:
            self.abandoned = True

    def put(self, outcome: BlockOutcome) -> None:
        """A block has ended, or a part of one."""
        self._said.put(outcome)

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come: all blocks have ended, nobody wants them, or ``error`` has ended the work."""
        self._said.put(error)  # first: whoever waits must hear of it, also where the cluster is gone
        for work in self.reading:
            if work.pixels is None:
                with contextlib.suppress(Exception):
                    ray.cancel(work.read, force=True)
        self.reading = []
        self.todo.clear()

    @property
    def waiting(self) -> int:
        """Blocks that no actor holds."""
        return len(self.todo) + len(self.reading)

    @property
    def untaken(self) -> int:
        """Outcomes that nobody has taken yet."""
        return self._said.qsize()
