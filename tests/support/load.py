"""Detectors and clusters for the benchmarks of the engine: nothing here imports torch, and workers prove it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.engine.executor import Executor
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.metrics import Metrics
from pipeline.types import Block, BlockOutcome, Chip, Detections, Frame, Look, ModelCard

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers")
CARD = ModelCard(
    name="stand-in", classes=("object",), gsd_m=None, bands=("red", "green", "blue"), input_px=512, sha256="0" * 64,
    oriented=True, score_threshold=0.3,
)  # fmt: skip


@dataclass(frozen=True)
class SleepingDetector:
    """Finds nothing, and waits as one does for a GPU that is somewhere else. Raises when torch was imported."""

    seconds_per_chip: float = 0.0
    card: ModelCard = CARD

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        heavy = [name for name in HEAVY if name in sys.modules]
        assert not heavy, f"a worker imported {heavy}"
        time.sleep(self.seconds_per_chip * len(chips))
        return [Look(Detections.empty(Frame.CHIP)) for _ in chips]


@contextmanager
def local_cluster(cpus: int, object_store_mb: int = 1500) -> Iterator[float]:
    """A Ray cluster of this machine alone with ``cpus`` logical CPUs; yields the seconds it took to start."""
    import ray

    from pipeline.cluster.nodes import KEEP_READERS

    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault(*KEEP_READERS)
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own is 15: any other program would starve the workers
    started = time.perf_counter()
    ray.init(
        address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=object_store_mb * 1_000_000,
    )  # fmt: skip
    try:
        yield time.perf_counter() - started
    finally:
        ray.shutdown()


@dataclass
class Timed:
    """An executor that notes when blocks came back, and what that cost this process."""

    inner: Executor
    arrived: list[float] = field(default_factory=list)
    """Seconds since ``map`` was called, one per outcome."""
    cpu_s: float = 0.0
    """Processor time of this process (all its threads) during ``map``."""
    started: float = 0.0

    @property
    def scenes(self) -> int:
        return self.inner.scenes

    def map(self, order: WorkOrder, blocks: Sequence[Block], metrics: Metrics | None = None) -> Iterator[BlockOutcome]:
        self.started, cpu = time.perf_counter(), time.process_time()
        for outcome in self.inner.map(order, blocks, metrics):
            self.arrived.append(time.perf_counter() - self.started)
            yield outcome
        self.cpu_s += time.process_time() - cpu

    def run(self, function: Callable[[Any], Any], parts: Any) -> Iterator[Any]:
        return self.inner.run(function, parts)

    def check_visible(self, paths: Any) -> None:
        self.inner.check_visible(paths)

    @property
    def metrics(self) -> Any:
        return self.inner.metrics

    def record(self) -> dict[str, Any]:
        return self.inner.record()
