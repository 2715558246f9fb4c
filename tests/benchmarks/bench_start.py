"""Where the time goes until ``kestrel detect --executor local`` looks at its first block.

  python -m tests.benchmarks.bench_start [--against CHECKOUT] [--repeat 3] [--packages 12]

A small harbour is detected by processes of their own: by ONNX Runtime, by torch and, with ``--against``, as another
checkout of this project does it, each ``--repeat`` times in turn. Until the worker is given the first block: seconds of
the processor and of the clock, the least of the repeats, and ratios against the last row. Below them: the seconds of
``python -X importtime`` of the first row, by the package that they were spent in, and the largest imports with all that
they bring along (``-X importtime`` itself takes a tenth more).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs import make_scene

ROOT = Path(__file__).resolve().parents[2]
MARK = "first block:"
PROGRAM = f"""
import sys, time
import jobs.detect_scene
def watched():
    from pipeline.engine.worker import TileWorker
    look = TileWorker.__call__
    def first(*given):
        print("{MARK}", time.process_time(), time.time(), file=sys.stderr, flush=True)
        TileWorker.__call__ = look
        return look(*given)
    TileWorker.__call__ = first
inner = jobs.detect_scene.detect
def detect(*given):
    watched()
    return inner(*given)
jobs.detect_scene.detect = detect
raise SystemExit(jobs.detect_scene.main(sys.argv[1:]))
"""
"""What the command does, and a line when its worker is first called."""
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)")


def started(tree: Path, scene: Path, more: list[str]) -> tuple[float, float, str]:
    """Seconds of the processor and of the clock until the first block, and what the process said."""
    with tempfile.TemporaryDirectory() as out:
        begun = time.time()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", PROGRAM, "--scene", str(scene), "--out", out,
             "--executor", "local", *more],
            cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    mark = next((line for line in done.stderr.splitlines() if MARK in line), None)
    if done.returncode or mark is None:
        raise SystemExit(f"{tree}: the command ended with {done.returncode}\n{done.stderr[-2000:]}")
    processor, clock = map(float, mark.partition(MARK)[2].split())
    return processor, clock - begun, done.stderr.partition(MARK)[0]


def imports(said: str) -> tuple[Counter[str], list[tuple[float, str]]]:
    """Seconds by top package, without what each brought along; all modules with what they brought, largest first."""
    own: Counter[str] = Counter()
    whole = []
    for alone, all_in, _, name in _IMPORT.findall(said):
        own[name.partition(".")[0]] += int(alone)
        whole.append((int(all_in) / 1e6, name))
    return own, sorted(whole, reverse=True)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout, for instance of the commit before")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--packages", type=int, default=12, help="so many packages and imports are listed")
    given = parser.parse_args()
    rows: dict[str, tuple[Path, list[str]]] = {
        "onnx": (ROOT, ["--detector.runtime", "onnx"]),
        "torch": (ROOT, ["--detector.runtime", "torch"]),
    }
    if given.against:
        rows["against"] = (given.against.resolve(), [])
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "harbour.tif"
        make_scene.main(["--width", "600", "--height", "500", "--out", str(scene), "--quiet"])
        runs = {name: [started(tree, scene, more)] for name, (tree, more) in rows.items()}
        for _ in range(given.repeat - 1):
            for name, (tree, more) in rows.items():
                runs[name].append(started(tree, scene, more))
    least = {name: (min(one[0] for one in every), min(one[1] for one in every)) for name, every in runs.items()}
    base = least[list(rows)[-1]]
    print(f"{'to the first block':20}{'CPU s':>8}{'ratio':>7}{'clock s':>9}{'ratio':>7}")
    for name, (processor, clock) in least.items():
        print(f"{name:20}{processor:8.2f}{processor / base[0]:7.2f}{clock:9.2f}{clock / base[1]:7.2f}")
    own, whole = imports(min(runs["onnx"])[2])
    print(f"\nimports, {sum(own.values()) / 1e6:.2f} s")
    for (package, spent), (all_in, name) in zip(own.most_common(given.packages), whole[: given.packages], strict=False):
        print(f"{package:20}{spent / 1e6:8.2f}    {name:45}{all_in:8.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
