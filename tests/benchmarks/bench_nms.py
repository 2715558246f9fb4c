"""Rotated NMS against the plain shapely way: seconds, memory, and the same boxes kept.

  python -m tests.benchmarks.bench_nms [--only 30k 100k 1M] [--repeat 3]

Data: three jittered copies of N/3 rotated objects of 5 classes, IoU 0.5. ``dense`` packs 12–30 × 4–12 px objects 14 px
apart on average, ``sparse`` 60 px apart. The plain way is an STRtree query of all boxes, vectorised ``intersection``
and ``area`` of the pairs of one class, then the greedy loop in rank order. Each measurement runs in a process of its
own, compiled code loaded; extra memory is the peak over what the process held before. Both ways use one thread, and the
ratio is of CPU seconds, which other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import shapely

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.geometry.nms import rotated_nms
from pipeline.geometry.obb import canonical_obb, obb_to_corners
from pipeline.types import FloatArray, IntArray

IOU_THRESHOLD = 0.5
LAYOUTS = {"30k": (30_000, 14.0), "100k": (100_000, 14.0), "1M": (1_000_000, 60.0)}
"""Boxes, and mean distance of objects in pixels."""
LIMITS_S = {"30k": 0.5, "100k": 2.5, "1M": 8.0}
LEAST_RATIO = {"30k": 8.0, "100k": 8.0, "1M": 5.0}
LIMIT_MB = {"30k": 300.0, "100k": 300.0}


def crowd(count: int, distance: float) -> tuple[FloatArray, FloatArray, IntArray]:
    """Boxes (N, 5), scores (N,), class ids (N,)."""
    generator = np.random.default_rng(0)
    objects = count // 3
    places = generator.uniform(0, distance * np.sqrt(objects), (objects, 2))
    sizes = np.column_stack([generator.uniform(12, 30, objects), generator.uniform(4, 12, objects)])
    truth = np.column_stack([places, sizes, generator.uniform(-np.pi / 2, np.pi / 2, objects)])
    copies = [truth + generator.normal(0, [0.5, 0.5, 0.5, 0.3, 0.03], truth.shape) for _ in range(3)]
    boxes = np.concatenate(copies)
    boxes[:, 2:4] = np.maximum(boxes[:, 2:4], 1)
    class_ids = np.tile(generator.integers(0, 5, objects), 3)
    return canonical_obb(boxes), generator.uniform(size=3 * objects), class_ids


def plain_nms(boxes: FloatArray, scores: FloatArray, class_ids: IntArray, iou_threshold: float) -> IntArray:
    """Greedy rotated NMS as one would write it with shapely and numpy."""
    order = np.argsort(-scores, kind="stable")
    shapes, classes = shapely.polygons(obb_to_corners(boxes[order])), class_ids[order]
    area = shapely.area(shapes)
    i, j = shapely.STRtree(shapes).query(shapes)
    mine = (i < j) & (classes[i] == classes[j])
    i, j = i[mine], j[mine]
    common = shapely.area(shapely.intersection(shapes[i], shapes[j]))
    beaten = common / (area[i] + area[j] - common) > iou_threshold
    i, j = i[beaten], j[beaten]
    by_rank = np.argsort(i, kind="stable")
    i, j = i[by_rank], j[by_rank]
    first = np.searchsorted(i, np.arange(len(order) + 1))
    keep = np.ones(len(order), np.bool_)
    for rank in range(len(order)):
        if keep[rank]:
            keep[j[first[rank] : first[rank + 1]]] = False
    return np.asarray(order[keep])


WAYS: dict[str, Callable[[FloatArray, FloatArray, IntArray, float], IntArray]] = {
    "ours": rotated_nms,
    "shapely": plain_nms,
}


def measure(way: str, layout: str) -> dict[str, float | int | str]:
    """One run in this process: seconds, extra peak memory, and what was kept."""
    data = crowd(*LAYOUTS[layout])
    WAYS[way](*(column[:30] for column in data), IOU_THRESHOLD)  # type: ignore[call-arg]
    held_mb = psutil.Process().memory_info().rss / 2**20
    started, worked = time.perf_counter(), time.process_time()
    kept = WAYS[way](*data, IOU_THRESHOLD)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - held_mb  # ru_maxrss is in KiB on Linux
    digest = zlib.crc32(np.sort(kept).tobytes())
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "extra_mb": extra, "kept": len(kept), "digest": digest}


def in_own_process(way: str, layout: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", way, layout]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> int:
    """Print the table; 1 when a target is missed or the two ways keep different boxes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, the median counts (default: 3)")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "LAYOUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return 0
    missed = False
    print("                      wall, s              CPU, s                 extra MB")
    print("boxes     kept     ours  shapely     ours  shapely   ratio     ours  shapely")
    for layout in arguments.only:
        runs = {way: [in_own_process(way, layout) for _ in range(arguments.repeat)] for way in WAYS}
        assert len({run["digest"] for way in WAYS for run in runs[way]}) == 1, f"{layout}: different boxes were kept"
        seconds = {way: statistics.median(run["seconds"] for run in runs[way]) for way in WAYS}
        cpu = {way: statistics.median(run["cpu_seconds"] for run in runs[way]) for way in WAYS}
        memory = {way: max(run["extra_mb"] for run in runs[way]) for way in WAYS}
        ratio = cpu["shapely"] / cpu["ours"]
        row = [f"{layout:>5} {runs['ours'][0]['kept']:>8}"]
        row += [f"{figure[way]:>8.3f}" for figure in (seconds, cpu) for way in WAYS]
        print(*row, f"{ratio:>6.1f}x", *(f"{memory[way]:>8.0f}" for way in WAYS))
        missed |= seconds["ours"] > LIMITS_S[layout] or ratio < LEAST_RATIO[layout]
        missed |= memory["ours"] > LIMIT_MB.get(layout, np.inf)
    print("a target was missed" if missed else "all targets met")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
