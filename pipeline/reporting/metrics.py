"""The numbers that operators watch: counted once, for the run record of each scene and for whoever exports them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.types import BlockOutcome

COUNTERS = {
    "tiles_done": "Tiles looked at.",
    "tiles_failed": "Tiles that could not be looked at.",
    "tiles_skipped": "Tiles not looked at: no valid pixel, or outside the area of interest.",
    "crops": "Crops of the second look.",
    "bytes_read": "Bytes of pixels that files were decoded to, whole blocks of the file counted; from their layout.",
    "worker_deaths": "Worker processes that died, killed ones included.",
    "deadlines_exceeded": "Reads and looks given up because they showed no sign of life.",
    "blocks_recomputed": "Blocks tried again as they were.",
    "blocks_bisected": "Blocks tried again in two halves.",
    "stuck": "Times that no block had finished for cluster.stuck_s.",
}
"""Name → what is counted."""
STAGES = ("plan", "read", "detect", "merge", "write")
"""Read and detect are timed once a block, in the worker; the others once a scene."""
PHASES = ("todo", "reading", "looking")
"""Where the blocks of a scene are that have not ended. Reading includes those that are read and wait for a worker."""
BOUNDARIES_S = tuple(step * 10.0**power for power in range(-5, 4) for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
"""Upper ends of the buckets that seconds are sorted into, 10 µs to 2 h: the merge of a few boxes takes microseconds, of
ten million a minute. Who exports a histogram's sum from its buckets takes their middles, which must lie near."""


@dataclass(slots=True)
class Timing:
    """How often a stage ran, and how long."""

    count: int = 0
    sum_s: float = 0.0
    most_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Numbers:
    """What was counted since this was made."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    seconds: dict[str, Timing] = field(default_factory=lambda: {stage: Timing() for stage in STAGES})
    most_blocks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PHASES, 0))
    """Most blocks that were in a phase at one time."""

    def record(self) -> dict[str, Any]:
        """For ``run.json``."""
        seconds = {
            stage: {"count": one.count, "sum": round(one.sum_s, 6), "most": round(one.most_s, 6)}
            for stage, one in self.seconds.items()
        }
        return {**self.counts, "stage_seconds": seconds, "most_blocks": dict(self.most_blocks)}


class Exporter(Protocol):
    """Shows the same numbers elsewhere while the run goes on."""

    def count(self, name: str, amount: int) -> None:
        """``amount`` > 0 more of one of COUNTERS."""
        ...

    def observe(self, stage: str, seconds: float) -> None:
        """One of STAGES took this long."""
        ...

    def blocks(self, phase: str, count: int) -> None:
        """So many blocks are in one of PHASES now."""
        ...

    def scene(self, status: str) -> None:
        """One more scene ended with this status."""
        ...

    def ingest(self, counts: Mapping[str, int], lag_s: float, oldest_failure_s: float) -> None:
        """See :meth:`Metrics.ingest`."""
        ...


class Metrics:
    """Counts for a run, or for one scene of it and for the run too, and tells the exporter. For any thread."""

    def __init__(self, exporter: Exporter | None = None, run: Metrics | None = None) -> None:
        """``run``: what this is of a scene of."""
        self._exporter = exporter
        self._lock: threading.Lock = threading.Lock() if run is None else run._lock
        self.numbers = Numbers()
        self._all = (self.numbers,) if run is None else (self.numbers, run.numbers)

    def scene(self) -> Metrics:
        """Numbers of one scene, from nought; what is counted there counts for this run too."""
        return Metrics(self._exporter, self)

    def end_scene(self, status: str) -> None:
        """A scene ended; ``status`` as in its report."""
        if self._exporter is not None:
            self._exporter.scene(status)

    def count(self, **amounts: int) -> None:
        """More of one or several COUNTERS."""
        for name, amount in amounts.items():
            with self._lock:
                for numbers in self._all:
                    numbers.counts[name] += amount
            if amount and self._exporter is not None:
                self._exporter.count(name, amount)

    def observe(self, stage: str, seconds: float) -> None:
        """One of STAGES took this long."""
        with self._lock:
            for timing in (numbers.seconds[stage] for numbers in self._all):
                timing.count += 1
                timing.sum_s += seconds
                timing.most_s = max(timing.most_s, seconds)
        if self._exporter is not None:
            self._exporter.observe(stage, seconds)

    def block(self, outcome: BlockOutcome) -> None:
        """A block ended: its tiles, its crops, its bytes and its seconds. One that failed whole has no seconds."""
        self.count(
            tiles_done=len(outcome.done),
            tiles_failed=len(outcome.failed),
            crops=len(outcome.crops),
            bytes_read=outcome.cost.bytes_read,
        )
        if outcome.cost.detect_s > 0:
            self.observe("read", outcome.cost.read_s)
            self.observe("detect", outcome.cost.detect_s)

    def blocks(self, **counts: int) -> None:
        """How many blocks of this scene, or of all scenes of this run, are in each of PHASES now.

        Those of scenes do not add up to the run's by themselves; the exporter is told of the run's.
        """
        for phase, count in counts.items():
            with self._lock:
                self.numbers.most_blocks[phase] = max(self.numbers.most_blocks[phase], count)
            if len(self._all) == 1 and self._exporter is not None:
                self._exporter.blocks(phase, count)

    def ingest(self, counts: Mapping[str, int], lag_s: float, oldest_failure_s: float) -> None:
        """The ledger of ingestion after a tick: scenes by state; how long the longest have waited, and have failed."""
        if self._exporter is not None:
            self._exporter.ingest(counts, lag_s, oldest_failure_s)
