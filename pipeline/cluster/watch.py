"""A job that stands still is noticed: which blocks are in flight, where, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from pipeline.reporting.journal import Journal
from pipeline.reporting.metrics import Metrics

NAMED = 10
"""Blocks in flight that people are told of; machines are told of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A block on its way through the cluster, or a worker that is not ready yet."""

    phase: str
    """queued, reading, read, looking; or of a worker: placing, loading."""
    seconds: float
    """In this phase."""
    silent_s: float | None = None
    """Since the last sign of life; None where there can be none."""
    scene_id: str | None = None
    block_id: int | None = None
    """None for a worker."""
    tiles: int = 0
    first_tile: str | None = None
    node: str | None = None
    """Address of the machine; None while nobody has it."""
    pid: int | None = None

    def sentence(self) -> str:
        """In words."""
        what = (
            "a worker"
            if self.block_id is None
            else f"block {self.block_id} of {self.scene_id} ({self.tiles} tiles from {self.first_tile})"
        )
        where = f" on {self.node} pid {self.pid}" if self.node else ""
        silent = "" if self.silent_s is None else f", silent for {self.silent_s:.0f} s"
        return f"{what} {self.phase}{where} for {self.seconds:.0f} s{silent}"


class Watch:
    """Says so when no block has finished for ``stuck_s``, and again each time that long."""

    def __init__(self, stuck_s: float, journal: Journal, metrics: Metrics) -> None:
        self._stuck_s, self._journal, self._metrics = stuck_s, journal, metrics
        self.finished()

    def finished(self) -> None:
        """A block ended, or the work began."""
        self._since = self._said = time.monotonic()

    def check(self, flights: Callable[[], Sequence[Flight]]) -> None:
        """Call now and then while work is in flight."""
        now = time.monotonic()
        if now - self._said < self._stuck_s:
            return
        self._said = now
        seen = flights()
        named = "; ".join(flight.sentence() for flight in seen[:NAMED])
        rest = f"; and {len(seen) - NAMED} more" if len(seen) > NAMED else ""
        self._metrics.count(stuck=1)
        self._journal.emit(
            "stuck",
            f"stuck: no block finished for {now - self._since:.0f} s; {named}{rest}",
            seconds=now - self._since,
            in_flight=[asdict(flight) for flight in seen],
        )
