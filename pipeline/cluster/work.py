"""A block on its way through the cluster, and the processes it passes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

import ray

from pipeline.cluster.watch import Flight
from pipeline.engine.bisection import Tried
from pipeline.types import Block


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

    def title(self, doing: str, scene_id: str) -> str:
        """What Ray's lists and dashboard show of it."""
        return f"{doing} {scene_id} block {self.block.block_id} ({self.block.tiles[0].tile_id})"

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
            block_id=self.block.block_id,
            tiles=len(self.block.tiles),
            first_tile=self.block.tiles[0].tile_id,
            **place_facts(self.place),
        )
