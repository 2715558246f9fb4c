"""The executor over Ray: one pool of detector actors for all scenes of a run, however many are worked on at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray

from pipeline.cluster.dispatcher import Dispatcher
from pipeline.cluster.metrics import RayExporter
from pipeline.cluster.nodes import check_visible, connected, device_of, wanted_workers
from pipeline.cluster.pool import Pool
from pipeline.cluster.tasks import run_tasks
from pipeline.cluster.work import Queue
from pipeline.config import ClusterConfig
from pipeline.engine.worker import LoadDetector
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.journal import Journal
from pipeline.reporting.metrics import Metrics
from pipeline.types import Block, BlockOutcome

TROUBLES = ("worker_deaths", "deadlines_exceeded", "blocks_recomputed", "blocks_bisected", "stuck")
"""What the record of the work counts."""
SPARE_SCENES, MOST_SCENES = 2, 32
"""Scenes of one block keep as many workers busy as there are scenes; the spare ones are planned and published
meanwhile. The driver holds a plan and the detections of each."""


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
            self._wanted = wanted_workers(self._config, self._device)
            self._pool = Pool(self._load, self._config, self._device, self._wanted, self._journal, self.metrics)
            begun.callback(self._pool.close)
            self._dispatcher = Dispatcher(self._pool, self._config, self._device, self._journal, self.metrics)
            begun.callback(self._dispatcher.close)
            self._begun = begun.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._begun.close()

    @property
    def scenes(self) -> int:
        """See :class:`pipeline.engine.executor.Executor`."""
        return min(self._wanted + SPARE_SCENES, MOST_SCENES)

    def record(self) -> dict[str, Any]:
        """See :class:`pipeline.engine.executor.Executor`."""
        counts = {name: self.metrics.numbers.counts[name] for name in TROUBLES}
        staff = {"workers": self._pool.most_ready}
        return {"executor": "ray", "ray": ray.__version__, "device": self._device, **staff, **counts}

    def check_visible(self, paths: Iterable[Path]) -> None:
        """See :class:`pipeline.engine.executor.Executor`."""
        check_visible(paths, self._config.start_s)

    def map(self, order: WorkOrder, blocks: Sequence[Block], metrics: Metrics | None = None) -> Iterator[BlockOutcome]:
        """See :class:`pipeline.engine.executor.Executor`."""
        if not blocks:
            return
        queue = Queue(order, blocks, self._config.max_attempts, metrics or self.metrics.scene())
        self._dispatcher.add(queue)
        yield from queue.outcomes()

    def run(self, function: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        """See :class:`pipeline.engine.executor.Executor`."""
        return run_tasks(function, parts)
