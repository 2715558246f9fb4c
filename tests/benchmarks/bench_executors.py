"""What Ray costs on one machine: the same work by ``--executor local`` and by ``ray``, more than a minute of it.

    python -m tests.benchmarks.bench_executors --seconds 60 --rounds 3

Both look at one harbour scene with the embedded detector, in turns: local in one process, Ray with one worker, one CPU
thread each. The scene is made as large as ``--seconds`` of local work need. ``start``: for Ray the cluster, the actor
and the model in it; for local the model; not counted in ``work``, which is all blocks but the first from its end on,
and as much again as one of them. Both publish the same bytes, or this fails; so it does when Ray costs more than
``--most`` (median of the rounds' ratios). Ray has one worker on purpose: with two it would simply be faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from pipeline.config import RunConfig, TilingConfig
from pipeline.detectors.weights import load, model_card
from pipeline.engine.local import LocalExecutor
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from tests.support.load import ROOT, Timed, local_cluster

BUILTIN = "builtin:ships-s2"
SIDE_PX = 1024
"""Height of the scene: 10 m pixels, looked at in 6 m."""
SAME_BYTES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")


def make_harbour(path: Path, width: int) -> None:
    flags = ["--kind", "harbour", "--seed", "20000008", "--width", str(width), "--height", str(SIDE_PX), "--quiet"]
    subprocess.run([sys.executable, "jobs/make_scene.py", *flags, "--out", str(path)], check=True, cwd=ROOT,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def measure(name: str, scene: Path, out: Path) -> dict[str, float]:
    """One run in this process: seconds of start and of work, and how many blocks that was."""
    config = RunConfig(scene=(str(scene),), out=str(out), tiling=TilingConfig(block_mpx=1.0))
    card, loader = model_card(BUILTIN), partial(load, BUILTIN, "cpu", "float32", 1)
    began = time.perf_counter()
    if name == "local":
        executor = Timed(LocalExecutor(loader))
        report = detect(config, card, executor, SILENT)
    else:
        from pipeline.cluster.executor import RayExecutor
        from pipeline.config import ClusterConfig

        cluster = ClusterConfig(workers=1, device="cpu", start_s=600)
        with local_cluster(2), RayExecutor(loader, cluster, SILENT) as pool:
            executor = Timed(pool)
            report = detect(config, card, executor, SILENT)
    assert report.exit_code == 0, report.scenes[0].message
    first, last = executor.arrived[0], executor.arrived[-1]
    each = (last - first) / (len(executor.arrived) - 1)
    return {"start_s": executor.started - began + first - each, "work_s": last - first + each,
            "blocks": len(executor.arrived)}  # fmt: skip


def in_own_process(name: str, scene: Path, out: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_executors", "--measure", name, str(scene), str(out)]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of local work, at least (60)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=float, default=1.05, help="ratio above which this fails (1.05)")
    parser.add_argument("--measure", nargs=3, metavar=("EXECUTOR", "SCENE", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, scene, out = arguments.measure
        print(json.dumps(measure(name, Path(scene), Path(out))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder) / "harbour.tif", Path(folder) / "out"
        make_harbour(scene, SIDE_PX)
        rate = SIDE_PX / in_own_process("local", scene, out / "probe")["work_s"]
        width = round(1.15 * arguments.seconds * rate)
        make_harbour(scene, width)
        print(f"{width} x {SIDE_PX} px, embedded detector, one worker with one thread")
        print(f"{'round':>5} {'executor':>8} {'blocks':>6} {'start, s':>8} {'work, s':>8} {'ratio':>6}")
        ratios = []
        for turn in range(arguments.rounds):
            order = ("local", "ray") if turn % 2 == 0 else ("ray", "local")
            runs = {name: in_own_process(name, scene, out / f"{turn}{name}") for name in order}
            ratios.append(runs["ray"]["work_s"] / runs["local"]["work_s"])
            for name, run in runs.items():
                print(f"{turn:5} {name:>8} {run['blocks']:6.0f} {run['start_s']:8.1f} {run['work_s']:8.2f} "
                      f"{run['work_s'] / runs['local']['work_s']:6.3f}", flush=True)  # fmt: skip
            for file in SAME_BYTES:
                one, other = ((out / f"{turn}{name}" / "harbour" / file).read_bytes() for name in ("local", "ray"))
                assert one == other, f"{file} differs"
    ratio = statistics.median(ratios)
    print(f"ray / local: {ratio:.3f}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return int(ratio > arguments.most)


if __name__ == "__main__":
    sys.exit(main())
