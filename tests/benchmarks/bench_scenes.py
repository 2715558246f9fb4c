"""Many scenes: one after another against several at once, with detectors that only wait, as for a GPU somewhere else.

    python -m tests.benchmarks.bench_scenes --scenes 500 --size 1024
    python -m tests.benchmarks.bench_scenes --scenes 40 --size 8192

What is measured is whole runs, as ``kestrel detect`` does them: planning, reading, looking, merging, publishing, by a
Ray cluster of this machine that is told it has as many CPUs as there are workers. A detector sleeps ``--tile-s`` a tile
and imports no torch (it checks). The scenes are black, and links to one file. Start-up is not counted: the clock runs
when every actor has loaded and one scene is done. Efficiency is the time that workers looked, over the time that they
were there. One after another is measured with ``--alone`` scenes, for it takes its time; both in one go, and the ratio
is of scenes a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from pipeline.cluster.executor import RayExecutor
from pipeline.config import ClusterConfig, OutputConfig, RunConfig, TilingConfig
from pipeline.engine.executor import Executor
from pipeline.planning.plan import plan_scene, screen
from pipeline.raster.writer import write_scene
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from tests.support.load import CARD, SleepingDetector, local_cluster

TILES_PER_SIDE = 8
BLOCK_PX = 512


@dataclass(frozen=True)
class Result:
    """One run."""

    at_once: int
    scenes: int
    seconds: float
    looked_s: float
    """Of all workers."""
    cpu_s: float
    """Of the driver."""
    begin_mb: float
    end_mb: float

    def efficiency(self, workers: int) -> float:
        return self.looked_s / self.seconds / workers

    @property
    def per_minute(self) -> float:
        return 60 * self.scenes / self.seconds


def scenes_of(count: int, size: int, folder: Path) -> tuple[str, ...]:
    """Addresses of black scenes."""
    folder.mkdir()
    first = folder / "scene-0.tif"
    write_scene(
        first, width=size, height=size, bands=3, dtype="uint8", crs="EPSG:32632", block_px=BLOCK_PX,
        transform=(10.0, 0.0, 400_000.0, 0.0, -10.0, 5_000_000.0), sparse=True,
        render=lambda window: np.zeros((window.height, window.width, 3), np.uint8),
    )  # fmt: skip
    for number in range(1, count):
        os.link(first, folder / f"scene-{number}.tif")
    return tuple(str(folder / f"scene-{number}.tif") for number in range(count))


def rss_mb() -> float:
    return float(psutil.Process().memory_info().rss / 1e6)


def measure(config: RunConfig, at_once: int, executor: Executor, out: Path) -> Result:
    """One run over all scenes of ``config``."""
    looked = executor.metrics.numbers.seconds["detect"]
    before_s, begin_mb, cpu, began = looked.sum_s, rss_mb(), time.process_time(), time.perf_counter()
    own = replace(config, out=str(out), cluster=replace(config.cluster, scenes=at_once))
    report = detect(own, CARD, executor, SILENT)
    seconds = time.perf_counter() - began
    assert {scene.status for scene in report.scenes} == {"PUBLISHED"}
    return Result(
        at_once=at_once, scenes=len(report.scenes), seconds=seconds, looked_s=looked.sum_s - before_s,
        cpu_s=time.process_time() - cpu, begin_mb=begin_mb, end_mb=rss_mb(),
    )  # fmt: skip


def have_all_up(config: RunConfig, workers: int, executor: Executor) -> None:
    """Every actor has loaded, and there are as many readers as it takes."""
    plan, order = screen(plan_scene(config.scene[0], config, CARD, None), config, CARD)
    blocks = plan.blocks * (2 * workers)
    quick = [replace(block, tiles=block.tiles[:1], block_id=number) for number, block in enumerate(blocks)]
    while executor.record()["workers"] < workers:
        list(executor.map(order, quick))
    list(executor.map(order, quick))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--size", type=int, default=1024, help="pixels of a side (1024)")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--at-once", type=int, help="scenes in flight (as --cluster.scenes auto)")
    parser.add_argument("--alone", type=int, default=5, help="scenes that are done one after another (5)")
    parser.add_argument("--tile-s", type=float, default=0.1, help="seconds a detector sleeps per tile (0.1)")
    parser.add_argument("--preview-px", type=int, default=OutputConfig().preview_px, help="as --output.preview_px")
    parser.add_argument("--folder", type=Path, help="where scenes and results go (a temporary one)")
    parser.add_argument("--least", type=float, default=0.9, help="efficiency below which this fails (0.9)")
    arguments = parser.parse_args()
    workers, tiles = arguments.workers, TILES_PER_SIDE**2
    print(f"scenes of {arguments.size} px: {tiles} tiles, {arguments.tile_s * tiles:.1f} s of sleep each; "
          f"{workers} workers on {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"{'at once':>7} {'scenes':>7} {'seconds':>8} {'scenes/min':>11} {'efficiency':>11} "
          f"{'driver CPU s/scene':>19} {'driver MB':>12}")  # fmt: skip
    results: list[Result] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, local_cluster(workers, object_store_mb=1000):
        scenes = scenes_of(arguments.scenes, arguments.size, Path(folder) / "scenes")
        config = RunConfig(
            scene=scenes, tiling=TilingConfig(tile_px=arguments.size // TILES_PER_SIDE, halo_px=0, gsd="native"),
            cluster=ClusterConfig(workers=workers, device="cpu", start_s=600),
            output=OutputConfig(preview_px=arguments.preview_px),
        )  # fmt: skip
        with RayExecutor(partial(SleepingDetector, arguments.tile_s), config.cluster, SILENT) as executor:
            have_all_up(config, workers, executor)
            measure(replace(config, scene=scenes[:1]), 1, executor, Path(folder) / "first")  # imports, and compiles
            alone = replace(config, scene=scenes[: arguments.alone])
            for name, run, at_once in (
                ("alone", alone, 1), ("at-once", config, arguments.at_once or executor.scenes),
            ):  # fmt: skip
                result = measure(run, at_once, executor, Path(folder) / name)
                results.append(result)
                print(f"{result.at_once:7} {result.scenes:7} {result.seconds:8.1f} {result.per_minute:11.1f} "
                      f"{result.efficiency(workers):11.3f} {result.cpu_s / result.scenes:19.3f} "
                      f"{result.begin_mb:5.0f} {result.end_mb:5.0f}", flush=True)  # fmt: skip
    print(f"at once {results[1].per_minute / results[0].per_minute:.1f} times as many scenes a minute; "
          f"load average {os.getloadavg()[0]:.1f}")  # fmt: skip
    return int(results[1].efficiency(workers) < arguments.least)


if __name__ == "__main__":
    sys.exit(main())
