"""A real local Ray cluster for tests that need none of their own."""

from __future__ import annotations

from pathlib import Path

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
