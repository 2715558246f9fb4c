"""A million and ten million detections merged and published: seconds, and memory at its peak.

    python -m tests.benchmarks.bench_merge --rows 1000000 10000000

``rows`` objects of 5 classes, 30 px apart on average, were seen 1.3 times each by overlapping tiles, a tenth of the
looks cut. ``one go`` is ``pipeline.geometry.nms.merge``; ``in parts`` the same in partitions in this process; ``as Ray
tasks`` on two others. All three must give the same bytes. Then the merged table is made, and written in each format.
Each line is a process of its own: ``growth`` is its resident memory at its peak over what it held with its input made;
for Ray the driver's, and the largest worker's private memory beside it. ``closure`` is how many boxes parts were given
beyond those they decide, as shares of these: over all parts, and in the worst.
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
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyproj

from pipeline.geometry.nms import merge, total_order
from pipeline.geometry.obb import canonical_obb
from pipeline.geometry.partitions import PARTITION_BOXES, merge_in_parts, parts_of
from pipeline.georeference.georeference import Georeference
from pipeline.outputs.geojson import write_geojson
from pipeline.outputs.geopackage import write_gpkg
from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.planning.plan import ScenePlan
from pipeline.planning.tiles import plan_tiles
from pipeline.runs.identity import Identity
from pipeline.runs.result_files import build_table
from pipeline.types import Detections, Frame, Lattice, ModelCard, Scene
from pipeline.types.detections import COLUMNS
from tests.support.load import ROOT, local_cluster

LOOKS = 1.3
DISTANCE_PX = 30.0
IOU_THRESHOLD = 0.3
TILE_PX = 1024
CARD = ModelCard(
    name="crowd", classes=("a", "b", "c", "d", "e"), gsd_m=None, bands=("red", "green", "blue"), input_px=TILE_PX,
    sha256="0" * 64,
)  # fmt: skip


def side_px(rows: int) -> int:
    return round(DISTANCE_PX * rows**0.5)


def crowd(rows: int, looks: float = LOOKS) -> Detections:
    """``rows`` objects, seen ``looks`` times on average, in no order."""
    generator = np.random.default_rng(0)
    seen = np.concatenate([np.arange(rows), generator.integers(0, rows, round((looks - 1) * rows))])
    generator.shuffle(seen)
    size = generator.uniform([12, 4], [30, 12], (rows, 2))
    truth = np.column_stack([generator.uniform(0, side_px(rows), (rows, 2)), size, generator.uniform(-1.5, 1.5, rows)])
    boxes = truth[seen] + generator.normal(0, [0.5, 0.5, 0.3, 0.3, 0.03], (len(seen), 5))
    boxes[:, 2:4] = np.maximum(boxes[:, 2:4], 1)
    columns = max(1, side_px(rows) // TILE_PX)
    tile = np.clip(boxes[:, :2] // TILE_PX, 0, columns - 1).astype(np.int64)
    return Detections(
        canonical_obb(boxes), generator.uniform(0.3, 1, len(seen)), generator.integers(0, 5, rows)[seen], Frame.LATTICE,
        edge=generator.uniform(size=len(seen)) < 0.1, tile_index=tile[:, 1] * columns + tile[:, 0],
    )  # fmt: skip


def plan_of(rows: int) -> ScenePlan:
    """The scene these detections would come from, as planned."""
    side = side_px(rows)
    scene = Scene(
        scene_id="crowd", uris=("crowd.tif",), width=side, height=side, bands=(1, 2, 3), band_count=3, dtype="uint8",
        driver="GTiff", crs_wkt=pyproj.CRS.from_epsg(32632).to_wkt(), transform=(0.5, 0.0, 4e5, 0.0, -0.5, 4.9e6),
    )  # fmt: skip
    lattice = Lattice(width=side, height=side, scale_x=1.0, scale_y=1.0, gsd_m=0.5)
    tiles = plan_tiles(lattice, TILE_PX, 0)
    return ScenePlan(
        scene=scene, georeference=Georeference.of(scene), lattice=lattice, tile_px=TILE_PX, halo_px=0, tiles=tiles,
        tiles_outside_aoi=0, area=None,
    )  # fmt: skip


@dataclass
class Cost:
    """What a stage took."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    growth_mb: float = 0.0
    worker_mb: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def measured() -> Iterator[Cost]:
    """Seconds of the body, and the growth of resident memory at its peak."""
    cost, me, done = Cost(), psutil.Process(), threading.Event()
    before = me.memory_info().rss
    peaks, workers = [before], [0]

    def watch() -> None:
        while not done.wait(0.05):
            peaks.append(me.memory_info().rss)
            for child in me.children(recursive=True):
                try:
                    memory, title = child.memory_info(), child.cmdline()[0]
                    task = title.startswith("ray::") and " part " in title
                    workers.append(memory.rss - memory.shared if task else 0)
                except (psutil.NoSuchProcess, IndexError):
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds, cost.cpu_s = time.perf_counter() - began, time.process_time() - cpu
        done.set()
        watcher.join()
        cost.growth_mb, cost.worker_mb = (max(peaks) - before) / 1e6, max(workers) / 1e6


def digest(d: Detections) -> int:
    """Of every column."""
    crc = 0
    for column in (getattr(d, name) for name in COLUMNS):
        crc = zlib.crc32(np.ascontiguousarray(column), crc)
    return crc


def in_one_go(rows: int) -> Cost:
    looks = crowd(rows)
    merge(looks[:2000], iou_threshold=IOU_THRESHOLD)
    with measured() as cost:
        merged = merge(looks, iou_threshold=IOU_THRESHOLD)
    cost.facts = {"looks": len(looks), "merged": len(merged), "digest": digest(merged)}
    return cost


def in_parts(rows: int) -> Cost:
    looks = crowd(rows)
    merge_in_parts(looks[:2000], map, iou_threshold=IOU_THRESHOLD, partition_boxes=500)
    with measured() as cost:
        merged = merge_in_parts(looks, map, iou_threshold=IOU_THRESHOLD, partition_boxes=PARTITION_BOXES)
    ranked = looks[total_order(looks)]
    given, own = np.array(
        [(len(part.rank), part.core.sum())
         for part in parts_of(ranked, ranked.class_ids, IOU_THRESHOLD, PARTITION_BOXES)]
    ).T  # fmt: skip
    cost.facts = {"looks": len(looks), "merged": len(merged), "digest": digest(merged), "parts": len(own),
                  "closure": float(given.sum() / own.sum() - 1), "worst": float((given / own).max() - 1)}  # fmt: skip
    return cost


def as_ray_tasks(rows: int) -> Cost:
    from pipeline.cluster.tasks import run_tasks

    looks = crowd(rows)
    with local_cluster(2, object_store_mb=1000):
        merge_in_parts(looks[:5000], run_tasks, iou_threshold=IOU_THRESHOLD, partition_boxes=500)
        with measured() as cost:
            merged = merge_in_parts(looks, run_tasks, iou_threshold=IOU_THRESHOLD, partition_boxes=PARTITION_BOXES)
    cost.facts = {"looks": len(looks), "merged": len(merged), "digest": digest(merged)}
    return cost


def published(rows: int, name: str) -> Cost:
    """The table of ``rows`` merged detections made, or else written in one format."""
    plan, folder = plan_of(rows), Path(tempfile.mkdtemp())
    georeference = plan.georeference
    assert georeference is not None
    detections, few = crowd(rows, 1.0), crowd(1000, 1.0)
    identity = Identity(scene_id="crowd", model_id="crowd@0", run_id="0")
    path = folder / f"detections.{name}"
    write: dict[str, Callable[[Any, Path], None]] = {
        "parquet": lambda table, path: write_geoparquet(
            table, path, crs_projjson=georeference.crs_projjson(), metadata={}
        ),
        "gpkg": lambda table, path: write_gpkg(table, path, georeference.crs_wkt),
        "geojson": lambda table, path: write_geojson(table, path, georeference.world_to_lonlat),
    }
    try:
        small = build_table(few, plan, CARD, identity)
        if name == "table":
            with measured() as cost:
                table = build_table(detections, plan, CARD, identity)
            cost.facts = {"bytes": table.nbytes}
            return cost
        write[name](small, path)
        path.unlink()
        table = build_table(detections, plan, CARD, identity)
        del detections
        with measured() as cost:
            write[name](table, path)
        cost.facts = {"bytes": path.stat().st_size}
        return cost
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


MERGES: dict[str, Callable[[int], Cost]] = {
    "merge, one go": in_one_go, "merge, in parts": in_parts, "merge, as Ray tasks": as_ray_tasks,
}  # fmt: skip
FORMATS = ("table", "parquet", "gpkg", "geojson")


def in_own_process(stage: str, rows: int) -> Cost:
    command = [sys.executable, "-m", "tests.benchmarks.bench_merge", "--measure", stage, str(rows)]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--stages", nargs="+", choices=(*MERGES, *FORMATS), default=[*MERGES, *FORMATS])
    parser.add_argument("--measure", nargs=2, metavar=("STAGE", "ROWS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        stage, rows = arguments.measure[0], int(arguments.measure[1])
        cost = MERGES[stage](rows) if stage in MERGES else published(rows, stage)
        print(json.dumps(cost.__dict__))
        return
    print(f"{'rows':>10} {'stage':20} {'wall s':>8} {'cpu s':>8} {'growth MB':>10} {'worker MB':>10}")
    for rows in arguments.rows:
        digests = set()
        for stage in arguments.stages:
            cost = in_own_process(stage, rows)
            facts = ", ".join(f"{key} {value:.3%}" if isinstance(value, float) else f"{key} {value:,}"
                              for key, value in cost.facts.items() if key != "digest")  # fmt: skip
            worker = f"{cost.worker_mb:10.0f}" if cost.worker_mb else " " * 10
            line = (
                f"{rows:10,} {stage:20} {cost.seconds:8.2f} {cost.cpu_s:8.2f} {cost.growth_mb:10.0f} {worker} {facts}"
            )
            print(line, flush=True)
            digests |= {cost.facts["digest"]} if "digest" in cost.facts else set()
        assert len(digests) <= 1, "the merges differ"
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
