"""Writing a million detections: seconds, megabytes and memory of each format, beside geopandas in the same run.

    python -m tests.benchmarks.bench_output [--rows 1000000] [--formats parquet geopandas geojson gpkg]

Each format is written in a process of its own. ``cpu`` is processor time, which a busy machine inflates less than
``wall``; ``growth`` is resident memory at its peak while writing, over what it was before. The Parquet figure
includes building the table (sorting, hashing, WKB); geopandas is given finished geometries and the same columns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pipeline.outputs.geojson import write_geojson
from pipeline.outputs.geopackage import write_gpkg
from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.outputs.wkb import polygon_corners
from tests.support.outputs import UTM_32N, Sample, sample, utm_to_lonlat


@dataclass(frozen=True, slots=True)
class Cost:
    """What writing one file took."""

    wall_s: float
    cpu_s: float
    megabytes: float
    growth_mb: float


def write_parquet(prepared: Sample, path: Path) -> None:
    """Detections to GeoParquet, building the table included."""
    write_geoparquet(prepared.table(), path, crs_projjson=UTM_32N.to_json_dict(), metadata={})


def write_with_geopandas(prepared: Any, path: Path) -> None:
    """The same columns by geopandas, with its best settings: zstd and a bbox covering."""
    prepared.to_parquet(path, compression="zstd", write_covering_bbox=True, index=False)


def as_frame(rows: Sample) -> Any:
    """A GeoDataFrame of the detections, geometries made."""
    import geopandas
    import shapely

    table = rows.table()
    columns = table.drop_columns(["geometry", "bbox"]).to_pandas()
    return geopandas.GeoDataFrame(columns, geometry=shapely.polygons(polygon_corners(table)), crs=UTM_32N)


Prepare, Write = Callable[[Sample], Any], Callable[[Any, Path], None]
FORMATS: dict[str, tuple[Prepare, Write]] = {
    "parquet": (lambda rows: rows, write_parquet),
    "geopandas": (as_frame, write_with_geopandas),
    "geojson": (Sample.table, lambda table, path: write_geojson(table, path, utm_to_lonlat)),
    "gpkg": (Sample.table, lambda table, path: write_gpkg(table, path.with_suffix(".gpkg"), UTM_32N.to_wkt())),
}


def measure(name: str, rows: int) -> Cost:
    """Write ``rows`` detections in one format."""
    prepare, write = FORMATS[name]
    few, many = prepare(sample(10)), prepare(sample(rows))
    with tempfile.TemporaryDirectory() as folder:
        write(few, Path(folder) / "warm")
        process, done, peaks = psutil.Process(), threading.Event(), [0]
        before = process.memory_info().rss

        def watch() -> None:
            while not done.wait(0.01):
                peaks.append(process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        wall, cpu = time.perf_counter(), time.process_time()
        write(many, Path(folder) / "many")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        done.set()
        watcher.join()
        growth = max(0, max(peaks) - before) / 1e6
        (written,) = [path for path in Path(folder).iterdir() if path.stem == "many" and path.suffix != ".qml"]
        return Cost(wall, cpu, written.stat().st_size / 1e6, growth)


def main() -> None:
    """Measure the formats one after the other and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    options = parser.parse_args()
    print(
        f"{options.rows:,} detections, 22 columns",
        f"{'format':<10} {'wall s':>8} {'cpu s':>8} {'MB':>8} {'growth MB':>10}",
        sep="\n",
    )
    for name in options.formats:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            cost = pool.apply(measure, (name, options.rows))
        print(
            f"{name:<10} {cost.wall_s:8.2f} {cost.cpu_s:8.2f} {cost.megabytes:8.1f} {cost.growth_mb:10.0f}", flush=True
        )


if __name__ == "__main__":
    main()
