"""What it costs to tell many results as one collection: seconds of the processor and of the clock, memory.

    python -m tests.benchmarks.bench_collect [--scenes 5000] [--folder DIR]

One scene is really detected; the others are its files again (hard links), each with a record of its own: another place,
another time. Every step runs in a process of its own: all scenes new; nothing new; one in a hundred replaced.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.catalogue.collect import collect
from pipeline.runs.context import SILENT
from tests.support.detected_results import KINDS, publish


def result_like(source: Path, out: Path, number: int, attempt: int = 0) -> None:
    """The result in ``source`` again, as that of another scene; ``attempt`` changes its record alone."""
    folder = out / f"scene-{number:06d}"
    folder.mkdir(exist_ok=True)
    record: dict[str, Any] = json.loads((source / "run.json").read_text())
    record["scene_id"] = record["scene"]["scene_id"] = folder.name
    record["scene"]["transform"][2] += number % 100 * 2_000
    record["scene"]["transform"][5] += number // 100 * 2_000
    record["scene"]["acquired"] = (
        f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d}T10:{number % 60:02d}:{attempt:02d}Z"
    )
    content = json.dumps(record, indent=2).encode()
    manifest: dict[str, Any] = json.loads((source / "manifest.json").read_text())
    manifest["files"]["run.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for name in manifest["files"]:
        if name != "run.json" and not (folder / name).exists():
            os.link(source / name, folder / name)
    (folder / "run.json").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def peak_mb() -> float:
    """Resident memory of this process at its peak; getrusage would count what it was forked from."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def measured(out: str) -> None:
    """Collect, and say what it took."""
    idle = peak_mb()
    clock, processor = time.perf_counter(), time.process_time()
    done = collect(out, SILENT)
    took = f"{time.process_time() - processor:8.1f} {time.perf_counter() - clock:8.1f}"
    growth = peak_mb() - idle
    changes = f"{done.added} added, {done.replaced} replaced, {done.rows} rows"
    print(f"{took} {growth:8.0f}  {done.scenes} scenes: {changes}", flush=True)


def main() -> None:
    """Make the results, and collect them three times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        publish(folder, str(folder / "one"), "upright", KINDS["upright"])
        source, out = folder / "one" / "upright", folder / "out"
        out.mkdir()
        for number in range(arguments.scenes):
            result_like(source, out, number)
        print(f"{'cpu s':>8} {'s':>8} {'MB':>8}")
        for attempt in range(3):
            if attempt == 2:
                for number in range(0, arguments.scenes, 100):
                    result_like(source, out, number, attempt)
            process = multiprocessing.get_context("spawn").Process(target=measured, args=(str(out),))
            process.start()
            process.join()
            assert process.exitcode == 0, f"it ended with {process.exitcode}"
        files = [out / "_catalogue" / one for one in ("collection.json", "items.parquet")]
        print(", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in files))


if __name__ == "__main__":
    main()
