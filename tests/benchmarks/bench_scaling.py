"""Scaling of the engine itself: 1, 2, 4 … 64 detectors that only wait, as for a GPU that is somewhere else.

    python -m tests.benchmarks.bench_scaling --workers 1 2 4 8 16 32 64 --plot infra/scaling.png

What is measured is everything but the network: reading, moving, scheduling and accounting for blocks, by a Ray cluster
of this machine that is told it has as many CPUs as there are workers. A detector sleeps ``--tile-s`` a tile and imports
no torch (it checks); blocks are small and black, so that reading them costs the engine's share, not the decoder's. Each
number of workers gets as many blocks as it can work off in about the same time. Start-up (cluster, actors, readers) is
reported and not counted: the clock runs when every actor has loaded. Efficiency is the throughput of n workers over n
times that of one. The last columns say where processor time went, per block and in all, in cores: what nears the number
of cores of the machine is what saturates first.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from pipeline.cluster.executor import RayExecutor
from pipeline.config import ClusterConfig, RunConfig, TilingConfig
from pipeline.engine.ledger import account
from pipeline.planning.plan import ScenePlan, WorkOrder, plan_scene, screen
from pipeline.raster.writer import write_scene
from pipeline.runs.context import SILENT
from tests.support.load import CARD, SleepingDetector, local_cluster

TILE_PX, TILES_PER_SIDE = 64, 8
"""A block is 8 x 8 tiles, without halo: about as many as there are of 512 px in a block of the default 24 Mpx."""
GROUPS = ("driver", "ray", "readers", "actors")


@dataclass(frozen=True)
class Result:
    """One number of workers."""

    workers: int
    blocks: int
    start_s: float
    seconds: float
    cpu_s: dict[str, float]
    """Processor seconds by GROUPS."""
    worker_mb: float
    """Private resident memory of all actors and readers together."""


def scene_of(blocks: int, folder: Path) -> tuple[ScenePlan, WorkOrder]:
    """A black scene of that many blocks, planned."""
    side = TILE_PX * TILES_PER_SIDE
    path = folder / f"{blocks}.tif"
    write_scene(
        path, width=side * blocks, height=side, bands=1, dtype="uint8", crs=None, transform=None, sparse=True,
        block_px=side, render=lambda window: np.zeros((window.height, window.width, 1), np.uint8),
    )  # fmt: skip
    tiling = TilingConfig(tile_px=TILE_PX, halo_px=0, gsd="native", block_mpx=side * side / 1e6)
    config = RunConfig(scene=(str(path),), out="unused", tiling=tiling)
    plan, order = screen(plan_scene(str(path), config, CARD, None), config, CARD)
    assert len(plan.blocks) == blocks, f"{len(plan.blocks)} blocks planned, {blocks} wanted"
    return plan, order


def processor_seconds() -> dict[int, tuple[str, float]]:
    """By process: its group, and its processor seconds so far."""
    found = {os.getpid(): ("driver", time.process_time())}
    for child in psutil.Process().children(recursive=True):
        try:
            name, used = child.cmdline()[0], sum(child.cpu_times()[:2])
        except (psutil.NoSuchProcess, IndexError):
            continue
        kind = "ray" if not name.startswith("ray::") else "readers" if "read" in name or "IDLE" in name else "actors"
        found[child.pid] = (kind, used)
    return found


def measure(workers: int, blocks_each: int, tile_s: float, folder: Path) -> Result:
    """Start a cluster, wait until every actor has loaded, then work off ``blocks_each`` blocks per actor."""
    plan, order = scene_of(workers * blocks_each, folder)
    few, few_order = scene_of(max(8, 2 * workers), folder)
    began = time.perf_counter()
    with local_cluster(workers, object_store_mb=500):
        config = ClusterConfig(workers=workers, device="cpu", start_s=600)
        with RayExecutor(partial(SleepingDetector, tile_s), config, SILENT) as pool:
            while pool.record()["workers"] < workers:
                account(few.tiles, pool.map(few_order, few.blocks))
            account(few.tiles, pool.map(few_order, few.blocks))  # all actors at once, and as many readers as that takes
            start_s = time.perf_counter() - began
            before, began = processor_seconds(), time.perf_counter()
            account(plan.tiles, pool.map(order, plan.blocks))
            seconds, after = time.perf_counter() - began, processor_seconds()
            worker_mb = sum(
                (one.memory_info().rss - one.memory_info().shared) / 1e6
                for one in psutil.Process().children(recursive=True)
                if one.is_running() and one.cmdline()[0].startswith("ray::")
            )
    cpu_s: dict[str, float] = defaultdict(float)
    for pid, (_, used) in after.items():
        kind = before.get(pid, after[pid])[0] if after[pid][0] != "actors" else "actors"
        cpu_s[kind] += used - before.get(pid, (kind, 0.0))[1]
    return Result(workers, workers * blocks_each, start_s, seconds, cpu_s, worker_mb)


def plot(results: list[Result], path: Path) -> None:
    """Efficiency, and cores used by each part of the engine, over the number of workers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    workers = [result.workers for result in results]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.axhline(0.9, color="0.7", linewidth=1)
    left.plot(workers, [efficiency(result, results[0]) for result in results], "o-")
    left.set(ylim=(0, 1.05), ylabel="efficiency")
    for kind in GROUPS:
        right.plot(workers, [result.cpu_s[kind] / result.seconds for result in results], "o-", label=kind)
    right.axhline(os.cpu_count() or 1, color="0.7", linewidth=1)
    right.set(ylabel="cores in use")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.set(xscale="log", xticks=workers, xticklabels=workers, xlabel="workers")
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def efficiency(result: Result, one: Result) -> float:
    """Throughput per worker, over that of the first measurement."""
    return (result.blocks / result.seconds / result.workers) / (one.blocks / one.seconds / one.workers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--blocks", type=int, default=12, help="blocks per worker (12)")
    parser.add_argument("--tile-s", type=float, default=0.1, help="seconds a detector sleeps per tile (0.1)")
    parser.add_argument("--plot", type=Path, help="where to write the figure")
    parser.add_argument("--least", type=float, default=0.9, help="efficiency below which this fails (0.9)")
    arguments = parser.parse_args()
    tiles = TILES_PER_SIDE**2
    print(f"blocks of {tiles} tiles of {TILE_PX} px, {arguments.tile_s * tiles:.1f} s of sleep each; "
          f"{arguments.blocks} blocks per worker")  # fmt: skip
    print(f"{'':>49} {'processor time per block, ms':>36} {'cores':>6} {'workers,':>9}")
    print(f"{'workers':>7} {'start, s':>9} {'seconds':>8} {'blocks/s':>9} {'efficiency':>11}   "
          + " ".join(f"{kind:>8}" for kind in GROUPS) + f" {'used':>6} {'MB':>9}")  # fmt: skip
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for workers in arguments.workers:
            result = measure(workers, arguments.blocks, arguments.tile_s, Path(folder))
            results.append(result)
            shares = " ".join(f"{1e3 * result.cpu_s[kind] / result.blocks:8.1f}" for kind in GROUPS)
            print(f"{workers:7} {result.start_s:9.1f} {result.seconds:8.2f} {result.blocks / result.seconds:9.2f} "
                  f"{efficiency(result, results[0]):11.3f}   {shares} "
                  f"{sum(result.cpu_s.values()) / result.seconds:6.2f} {result.worker_mb:9.0f}",
                  flush=True)  # fmt: skip
    busiest = max(GROUPS, key=lambda kind: results[-1].cpu_s[kind])
    print(f"most processor time at {results[-1].workers} workers: {busiest}; "
          f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")  # fmt: skip
    if arguments.plot:
        plot(results, arguments.plot)
    return int(min(efficiency(result, results[0]) for result in results) < arguments.least)


if __name__ == "__main__":
    sys.exit(main())
