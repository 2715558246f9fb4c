"""The machines of a Ray cluster: joining it, what it has room for, and which files its nodes see."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.cluster.place import session_folder
from pipeline.config import ClusterConfig
from pipeline.errors import ClusterError, SceneNotFound, one_sentence

KEEP_READERS = ("RAY_idle_worker_killing_time_threshold_ms", "600000")
"""For a cluster that is started here. Where detectors hold all CPUs, Ray would end a reading process that is idle for a
second, and start one anew for the next block, which takes more processor time than most reads."""


@contextlib.contextmanager
def connected(config: ClusterConfig) -> Iterator[None]:
    """Inside, this process has joined the configured cluster, or a local one that was started for it.

    Raises ClusterError when there is none at the address, or none can be started here.
    """
    given, address = config.address or os.environ.get("RAY_ADDRESS"), joined_address(config)
    os.environ.setdefault(*KEEP_READERS)
    with contextlib.ExitStack() as begun:
        folder = begun.enter_context(session_folder()) if address is None else None
        begun.callback(ray.shutdown)
        try:
            with _own_signals():
                ray.init(
                    address=address or "local",  # none given: never one that happens to run on this machine
                    include_dashboard=False if given is None else None,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    **({} if folder is None else {"_temp_dir": folder}),
                )
        except (OSError, RuntimeError, ValueError) as error:
            where = address or "a new local cluster"
            raise ClusterError(
                f"cannot connect to Ray at {where}: {one_sentence(error)}; check --cluster.address, or use "
                "--executor local"
            ) from error
        yield


def joined_address(config: ClusterConfig) -> str | None:
    """Of the cluster that is joined: what is configured, else of the submitted job. None for one of our own."""
    address = config.address or os.environ.get("RAY_ADDRESS")
    return None if address == "local" else address


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What SIGTERM does stays as it was: Ray would have it end the process where it stands."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def check_visible(paths: Iterable[Path], timeout_s: float) -> None:
    """Raise SceneNotFound when a node of the cluster does not see one of these local paths."""
    names = sorted({str(path) for path in paths})
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if not names or len(nodes) < 2:
        return
    asked = {}
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[_missing_task.options(scheduling_strategy=strategy, name="look for files").remote(names)] = node[
            "NodeManagerAddress"
        ]
    for reference, address in asked.items():
        for name in ray.get(reference, timeout=timeout_s):
            raise SceneNotFound(
                f"{name} is not visible on node {address} of the cluster; put it on storage that every node sees, "
                "for example s3:// or a shared file system"
            )


def _missing(paths: list[str]) -> list[str]:
    return [path for path in paths if not Path(path).exists()]


_missing_task: Any = ray.remote(num_cpus=0)(_missing)


def device_of(config: ClusterConfig) -> str:
    """``cuda`` or ``cpu``. Raises ClusterError when a GPU is asked for, and our own cluster has none.

    One that we joined may start a node for the workers that want one (ruling 11: they wait); ``auto`` goes by what is
    there.
    """
    gpus = ray.cluster_resources().get("GPU", 0)
    if config.device == "cuda" and not gpus and joined_address(config) is None:
        raise ClusterError("--cluster.device cuda, but the cluster has no GPU; use --cluster.device auto or cpu")
    return "cuda" if config.device == "cuda" or (gpus and config.device == "auto") else "cpu"


def wanted_workers(config: ClusterConfig, device: str) -> int:
    """How many workers a run should have: as configured, else one per GPU, else one per ``threads`` CPU cores."""
    if config.workers != "auto":
        return config.workers
    total = ray.cluster_resources()
    if device == "cuda":
        return max(1, int(total.get("GPU", 1)))
    return max(1, int(total.get("CPU", 1) // config.threads))


def room(needs: dict[str, float]) -> int:
    """How many workers the cluster's nodes could hold if nothing else ran on them."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    return sum(
        min(int(node["Resources"].get(names[key], 0) // amount) for key, amount in needs.items() if amount)
        for node in ray.nodes()
        if node["Alive"]
    )
