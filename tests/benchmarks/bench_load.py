"""Scenes of 1, 5, 25 gigapixels through the whole path: is memory flat, what does the driver cost per block?

    python -m tests.benchmarks.bench_load --gigapixels 1 5 25 --folder FOLDER      # 25 Gpx: 9 GB, some minutes to make

Scenes are made by ``jobs/make_scene.py`` (uint8 RGB, DEFLATE, blocks of 512 px) in FOLDER, once; a bit more than 30 %
of their blocks are stored, scattered, so that every tile has something to decode. Each run is a process of its own with
a Ray cluster of its own. ``null`` finds nothing and imports no torch; ``oracle`` answers with the true objects.

Memory is private resident memory, sampled five times a second: of the driver when the first block came back, its growth
until the last one did, and until the end; and of the largest reader or detector process. Pixels on their way lie in
Ray's object store, which is shared and bounded. ``driver, ms/block``: processor time of the driver, all its threads,
while blocks are worked off. ``start``: cluster and first block, not counted in ``Mpx/s``; all else is: planning,
detecting, merging, writing. ``Mpx/cpu-s`` counts the processor time of all processes: other programs change it less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.cluster.executor import RayExecutor
from pipeline.config import ClusterConfig, OutputConfig, RasterConfig, RunConfig, TilingConfig
from pipeline.raster.scene import open_scene
from pipeline.raster.writer import stored_blocks
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from pipeline.synth.known import ObjectField
from pipeline.synth.oracle import Jitter, OracleDetector, oracle_card
from pipeline.synth.sparse import SparseScene
from pipeline.types import FloatArray, ModelCard, Window
from tests.support.load import CARD, ROOT, SleepingDetector, Timed, local_cluster

BLOCK_PX = 512
SEED = 20_000_001
STORED_SHARE = 0.32
SAMPLE_S = 0.2


def side_px(gigapixels: float) -> int:
    """Whole blocks, at least that many pixels."""
    return -(-round((gigapixels * 1e9) ** 0.5) // BLOCK_PX) * BLOCK_PX


def scene_path(folder: Path, gigapixels: float, density: float) -> Path:
    """The scene of that size, made if it is not there."""
    path = folder / f"{gigapixels:g}gpx-{density:g}.tif"
    if not path.exists():
        side = str(side_px(gigapixels))
        flags = ["--kind", "field", "--width", side, "--height", side, "--gsd", "0.5", "--seed", str(SEED)]
        flags += ["--density", f"{density:g}", "--stored-share", str(STORED_SHARE), "--out", str(path)]
        started = time.perf_counter()
        subprocess.run([sys.executable, "jobs/make_scene.py", *flags], check=True, cwd=ROOT)
        print(f"made in {time.perf_counter() - started:.0f} s")
    return path


def truth(side: int, density: float) -> FloatArray:
    """The objects of such a scene (N, 5)."""
    field_ = ObjectField(seed=SEED, width=side, height=side, density=density)
    scene = SparseScene(whole=field_, seed=SEED, stored_share=STORED_SHARE)
    strips = (Window(x=0, y=y, width=side, height=min(4096, side - y)) for y in range(0, side, 4096))
    return np.concatenate([scene.objects_in(strip).boxes for strip in strips])


def detector_of(kind: str, side: int, density: float) -> tuple[Any, ModelCard, int]:
    """What makes the detector in a worker, its card, and how many objects it knows."""
    if kind == "null":
        return SleepingDetector, CARD, 0
    boxes = truth(side, density)
    card = oracle_card(boxes)
    bounds = Window(x=0, y=0, width=side, height=side)
    jitter = Jitter(centre_px=0.3, size=0.02, angle_rad=0.01, score=0.02)
    return partial(OracleDetector, boxes, card=card, bounds=bounds, jitter=jitter), card, len(boxes)


@dataclass
class Memory:
    """Samples private resident memory of this process and of Ray's workers until it is stopped."""

    driver: list[tuple[float, int]] = field(default_factory=list)
    """Time and bytes."""
    workers: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Peak bytes by process."""
    worker_cpu_s: dict[int, float] = field(default_factory=dict)
    """Processor time by process."""
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        me, known = psutil.Process(), {}
        while not self.stop.wait(SAMPLE_S):
            self.driver.append((time.perf_counter(), private(me)))
            if len(self.driver) % 5 == 1:
                known = {child.pid: child for child in me.children(recursive=True) if is_worker(child)}
            for pid, child in known.items():
                try:
                    self.workers[pid] = max(self.workers[pid], private(child))
                    self.worker_cpu_s[pid] = sum(child.cpu_times()[:2])
                except psutil.NoSuchProcess:
                    continue

    def driver_mb(self, start: float, end: float) -> tuple[float, float]:
        """Driver's memory at ``start`` and its peak until ``end``, MB."""
        inside = [size / 1e6 for when, size in self.driver if start <= when <= end] or [0.0]
        return inside[0], max(inside)


def private(process: psutil.Process) -> int:
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


def is_worker(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[0].startswith("ray::")
    except (psutil.NoSuchProcess, IndexError):
        return False


def measure(path: Path, kind: str, density: float, workers: int) -> dict[str, Any]:
    """One run in this process."""
    scene = open_scene(str(path), RasterConfig())
    load, card, objects = detector_of(kind, scene.width, density)
    stored, blocks_of_file = stored_blocks(path)
    memory = Memory()
    with tempfile.TemporaryDirectory(dir=path.parent) as out, local_cluster(workers) as cluster_s:
        config = RunConfig(
            scene=(str(path),), out=out, tiling=TilingConfig(tile_px=512, halo_px=64, gsd="native"),
            output=OutputConfig(max_failed_tiles=0),
        )  # fmt: skip
        watcher = threading.Thread(target=memory.watch, daemon=True)
        watcher.start()
        with RayExecutor(load, ClusterConfig(workers=workers, device="cpu"), SILENT) as pool:
            executor = Timed(pool)
            report = detect(config, card, executor, SILENT)
        memory.stop.set()
        watcher.join()
        assert report.exit_code == 0, report.scenes[0].message
        record = json.loads(next(Path(out).glob("*/run.json")).read_text())
    first, last = executor.started + executor.arrived[0], executor.started + executor.arrived[-1]
    held, peak = memory.driver_mb(first, last)
    _, end = memory.driver_mb(first, float("inf"))
    total_s = report.scenes[0].seconds - executor.arrived[0]
    return {
        "scene_mpx": scene.width * scene.height / 1e6, "stored": stored / blocks_of_file, "blocks": record["blocks"],
        "tiles": record["tiles"]["done"], "objects": objects, "found": report.scenes[0].detections,
        "start_s": cluster_s + executor.arrived[0], "seconds": record["seconds"], "total_s": total_s,
        "cpu_s": time.process_time() + sum(memory.worker_cpu_s.values()),
        "driver_ms": 1e3 * executor.cpu_s / record["blocks"], "driver_mb": held, "growth_mb": peak - held,
        "end_mb": end - held, "worker_mb": max(memory.workers.values(), default=0) / 1e6,
    }  # fmt: skip


HEAD = (
    f"{'Gpx':>5} {'detector':8} {'stored':>6} {'tiles':>7} {'blocks':>6} {'found':>7} {'start, s':>8} {'Mpx/s':>6} "
    f"{'/cpu-s':>6} {'driver,':>8} {'driver, MB':>10} {'growth':>7} {'to end':>7} {'worker, MB':>10}\n"
    f"{'':>69} {'ms/block':>8}"
)


def row(result: dict[str, Any], kind: str) -> str:
    return (
        f"{result['scene_mpx'] / 1e3:5.1f} {kind:8} {100 * result['stored']:5.1f}% {result['tiles']:7} "
        f"{result['blocks']:6} {result['found']:7} {result['start_s']:8.1f} "
        f"{result['scene_mpx'] / result['total_s']:6.0f} "
        f"{result['scene_mpx'] / result['cpu_s']:6.1f} {result['driver_ms']:8.1f} {result['driver_mb']:10.0f} "
        f"{result['growth_mb']:7.0f} {result['end_mb']:7.0f} {result['worker_mb']:10.0f}   {result['seconds']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigapixels", type=float, nargs="+", default=[1.0])
    parser.add_argument("--folder", type=Path, required=True, help="where the scenes are, or will be made and stay")
    parser.add_argument("--detectors", nargs="+", choices=("null", "oracle"), default=["null", "oracle"])
    parser.add_argument("--density", type=float, default=20.0, help="objects per million pixels that are stored (20)")
    parser.add_argument("--workers", type=int, default=2, help="detector processes, and CPUs of the cluster (2)")
    parser.add_argument("--measure", nargs=2, metavar=("PATH", "DETECTOR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        path, kind = arguments.measure
        print(json.dumps(measure(Path(path), kind, arguments.density, arguments.workers)))
        return
    paths = [scene_path(arguments.folder, size, arguments.density) for size in arguments.gigapixels]
    print(HEAD)
    for path in paths:
        for kind in arguments.detectors:
            command = [sys.executable, "-m", "tests.benchmarks.bench_load", "--folder", str(arguments.folder)]
            command += ["--density", str(arguments.density), "--workers", str(arguments.workers)]
            done = subprocess.run(
                [*command, "--measure", str(path), kind], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            print(row(json.loads(done.stdout.splitlines()[-1]), kind), flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
