"""A real local Ray cluster for tests that need none of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.engine.executor import Executor
from pipeline.planning.plan import WorkOrder
from pipeline.types import Block

ROOT = Path(__file__).resolve().parents[2]


def join_cluster() -> None:
    """The cluster that is up, or a new one of four (logical) CPUs on this machine whose workers see the tests."""
    import ray

    if ray.is_initialized():
        return
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=400_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )


def have_all_up(
    executor: Executor, workers: int, order: WorkOrder, blocks: Sequence[Block], within_s: float = 240.0
) -> None:
    """Give the executor work until so many of its workers are up: on a busy machine a scene may end before that."""
    until = time.monotonic() + within_s
    while executor.record()["workers"] < workers:
        assert time.monotonic() < until, f"not all of {workers} workers came up"
        list(executor.map(order, blocks[: 2 * workers]))
