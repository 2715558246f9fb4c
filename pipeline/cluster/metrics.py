"""The numbers of a run as Ray's own metrics: the agent of a node serves them to Prometheus, ``ray_`` before the name.

A scene's name is no label (a run may have thousands); search the log for it. Counters belong to the driver process:
they start at nought with it, and what it counts in its last seconds may go unseen. A scene's ``run.json`` has it all.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.reporting.metrics import BOUNDARIES_S, COUNTERS


class RayExporter:
    """Implements :class:`pipeline.reporting.metrics.Exporter`. Made when Ray is up."""

    def __init__(self) -> None:
        self._counters = {name: Counter(f"kestrel_{name}", text) for name, text in COUNTERS.items()}
        self._scenes = Counter("kestrel_scenes", "Scenes that ended, by status.", ("status",))
        self._blocks = Gauge("kestrel_blocks", "Blocks of scenes at work that have not ended, by phase.", ("phase",))
        self._ledger = Gauge("kestrel_ingest_scenes", "Scenes in the ledger of ingestion, by state.", ("state",))
        self._lag = Gauge("kestrel_ingest_lag_s", "Seconds since the scene was first seen that has waited longest.")
        self._oldest_failure = Gauge("kestrel_ingest_oldest_failure_s", "Seconds that the oldest failure has stood.")
        self._sums = Counter("kestrel_seconds", "Seconds of a stage altogether, to the microsecond.", ("stage",))
        self._seconds = Histogram(  # Ray tells its agents buckets, not sums: its sum is a guess by their middles
            "kestrel_stage_seconds",
            "Seconds of a stage: read and detect of a block, plan, merge and write of a scene.",
            boundaries=list(BOUNDARIES_S),
            tag_keys=("stage",),
        )

    def count(self, name: str, amount: int) -> None:
        """See :class:`pipeline.reporting.metrics.Exporter`."""
        self._counters[name].inc(amount)

    def observe(self, stage: str, seconds: float) -> None:
        """See :class:`pipeline.reporting.metrics.Exporter`."""
        self._seconds.observe(seconds, {"stage": stage})
        if seconds > 0:  # what a counter takes
            self._sums.inc(seconds, {"stage": stage})

    def blocks(self, phase: str, count: int) -> None:
        """See :class:`pipeline.reporting.metrics.Exporter`."""
        self._blocks.set(count, {"phase": phase})

    def scene(self, status: str) -> None:
        """See :class:`pipeline.reporting.metrics.Exporter`."""
        self._scenes.inc(1, {"status": status})

    def ingest(self, counts: Mapping[str, int], lag_s: float, oldest_failure_s: float) -> None:
        """See :class:`pipeline.reporting.metrics.Exporter`."""
        for state, count in counts.items():
            self._ledger.set(count, {"state": state})
        self._lag.set(lag_s)
        self._oldest_failure.set(oldest_failure_s)
