"""The table of all detections: rows brought in, compacted, exported and counted; seconds and memory.

    python -m tests.benchmarks.bench_catalogue [--rows 10000000] [--scene-rows 50000] [--folder DIR]

Scenes of a year and of several UTM zones are published without a detector, then collected; every step runs in a process
of its own. ``growth`` is its resident memory at the peak, over what it was before; ``cpu`` is processor time, which a
busy machine inflates less than the clock's. DuckDB reads the files that ``snapshot.json`` lists; the query counts by
month and by cells of half a degree, the second run is with a warm cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.catalogue import compaction, detections
from pipeline.catalogue.export import export
from pipeline.catalogue.results import published_results
from pipeline.outputs.selection import Selection
from tests.support.results import MadeScene

MONTHS, ZONES = 12, 20
COUNTS = """
select month, floor(lon / 0.5) as column, floor(lat / 0.5) as row, count(*) as found, avg(score) as score
from read_parquet(getvariable('files'), hive_partitioning = true) where "primary" group by all
"""


def scene(number: int, rows: int) -> MadeScene:
    """One of a fleet's scenes: 100 km a side at 10 m, ships anywhere in it."""
    rng = np.random.default_rng(number)
    length = rng.uniform(4, 30, rows)
    angles = rng.uniform(-np.pi / 2, np.pi / 2, rows)
    boxes = np.column_stack([rng.uniform(20, 9_980, (rows, 2)), length, length * rng.uniform(0.2, 0.4, rows), angles])
    zone, month = number % ZONES, number % MONTHS
    return MadeScene(
        scene_id=f"S2_{number:06d}", boxes=boxes, scores=rng.uniform(0.3, 1, rows), epsg=32620 + zone, size=10_000,
        origin=(400_000.0, 1_000_000.0 + 100_000.0 * (number // ZONES % 60)),
        acquired=f"2025-{month + 1:02d}-{number % 28 + 1:02d}T10:{number // 28 % 60:02d}:30Z",
    )  # fmt: skip


def publish(out: str, scenes: int, rows: int) -> None:
    """What the detectors of a fleet would leave."""
    for number in range(scenes):
        scene(number, rows).publish(out)


def bring_in(out: str) -> None:
    """A part for each scene; compaction comes after."""
    detections.compact = lambda _: 0
    detections.update(out, published_results(out))


def compact(out: str) -> None:
    """All parts of each month."""
    compaction.compact(out, parts=2)


def some_of_it(out: str, file: str) -> None:
    """A tenth of a month in one place."""
    export(out, Selection(where="score > 0.9", since=None, bbox=(-60.0, 9.0, 0.0, 40.0)), "gpkg", file)


def cost(step: Callable[..., None], *given: Any) -> tuple[float, float, float]:
    """Seconds by the clock and of the processor, and megabytes of growth, of a step in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (step, given))


def _measured(step: Callable[..., None], given: tuple[Any, ...]) -> tuple[float, float, float]:
    before, start, used = psutil.Process().memory_info().rss, time.perf_counter(), time.process_time()
    step(*given)
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    return wall, cpu, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6


def files(out: str) -> list[str]:
    """What the snapshot lists."""
    base = Path(out) / "_catalogue/detections"
    return [str(base / one["path"]) for one in json.loads((base / "snapshot.json").read_text())["files"]]


def query(out: str) -> None:
    """DuckDB's figures."""
    import duckdb

    with duckdb.connect() as database:
        database.execute("set variable files = ?", [files(out)])
        for _ in range(2):
            start = time.perf_counter()
            found = database.execute(COUNTS).fetchall()
            print(f"{'DuckDB ' + duckdb.__version__:<22}{time.perf_counter() - start:8.2f} s   {len(found)} groups of "
                  f"{sum(row[3] for row in found)} rows")  # fmt: skip


def main() -> None:
    """Make, collect, compact, export, count; a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--scene-rows", type=int, default=50_000)
    parser.add_argument("--folder", help="where to work (default: the temporary folder); needs 600 bytes a row")
    given = parser.parse_args()
    scenes = max(1, given.rows // given.scene_rows)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        out = f"{folder}/out"
        publish(out, scenes, given.scene_rows)
        rows = scenes * given.scene_rows
        for name, step, more in (
            ("parts", bring_in, ()),
            ("compaction", compact, ()),
            ("export of some", some_of_it, (f"{folder}/some.gpkg",)),
        ):
            seconds, cpu, growth = cost(step, out, *more)
            sizes = [Path(file).stat().st_size / 1e6 for file in files(out)]
            took = f"{seconds:8.2f} s, cpu {cpu:6.1f}, {rows / cpu:8,.0f} rows a cpu second, growth {growth:5.0f} MB"
            print(f"{name:<16}{took}, {len(sizes)} files of {min(sizes):.1f} to {max(sizes):.1f} MB", flush=True)
        print(f"{'bytes a row':<22}{sum(sizes) * 1e6 / rows:8.1f}")
        query(out)


if __name__ == "__main__":
    main()
