"""Small scenes by the thousand: what those cost that are published already, and what one costs an object store.

    python -m tests.benchmarks.bench_published --published 5000
    python -m tests.benchmarks.bench_published --store 20

``--published``: one scene is detected, its result is linked for all the others (with a record of their own each), and a
run is timed that finds nothing to do; then, ``--long-way`` times, one whose record has no digest of the inputs, as
those of before: it is opened, and its lease taken. ``--store``: scenes from and to an S3 server (moto's, a process of
its own) through a proxy that counts, detected and then again; without the proxy for the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.config import RunConfig, TilingConfig
from pipeline.engine.local import LocalExecutor
from pipeline.runs.context import SILENT, Run
from pipeline.runs.glance import glance, settings_sha256
from pipeline.runs.run import detect
from tests.support.fault_proxy import fault_proxy
from tests.support.pinned import CARD, pinned_oracle
from tests.support.proxy_faults import Request
from tests.support.scenes import write_geotiff
from tests.support.servers import fill_bucket, s3_process

TILING = TilingConfig(tile_px=512, halo_px=40, gsd="native")
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip


KINDS = {r"\.tif$": "scene", r"\.lease$": "lease", r"/_work/": "part", r"/run\.json$": "run.json",
         r"/.+/.+": "result", "": "listing"}  # fmt: skip
"""What a path is of."""


def write_scene(path: Path, side_px: int = 512) -> None:
    """16 bits of waves and noise, as much of it as imagery has."""
    draw = np.random.default_rng(0)
    row, column = np.mgrid[0:side_px, 0:side_px]
    ground = 1000 + 300 * np.sin(column / 40) + 300 * np.cos(row / 60)
    write_geotiff(path, np.stack([ground + draw.normal(0, 20, ground.shape) for _ in range(3)], -1).astype(np.uint16),
                  block_px=256)  # fmt: skip


def seconds_of(config: RunConfig, *, unchanged: bool) -> float:
    """Of one run in this process, whose scenes all end as they should."""
    began = time.perf_counter()
    report = detect(config, CARD, LocalExecutor(pinned_oracle), SILENT)
    taken = time.perf_counter() - began
    assert report.exit_code == 0
    assert {scene.message.startswith("nothing to do") for scene in report.scenes} == {unchanged}
    return taken


def published(count: int, folder: Path) -> RunConfig:
    """A run whose scenes are all published; each but the first as a copy of that."""
    (folder / "in").mkdir()
    scenes = [folder / "in" / f"scene-{number:05d}.tif" for number in range(count)]
    write_scene(scenes[0], 128)
    for scene in scenes[1:]:
        os.link(scenes[0], scene)
    config = RunConfig(scene=tuple(map(str, scenes)), out=str(folder / "out"), tiling=TILING)
    detect(replace(config, scene=config.scene[:1]), CARD, LocalExecutor(pinned_oracle), SILENT)
    run = Run(config=config, card=CARD, executor=LocalExecutor(pinned_oracle), aoi=None, journal=SILENT)
    first, settings = folder / "out" / scenes[0].stem, settings_sha256(run)
    record = json.loads((first / "run.json").read_text())
    for scene in scenes[1:]:
        own = first.with_name(scene.stem)
        for path in (path for path in first.rglob("*") if path.is_file() and path.name != "run.json"):
            (own / path.relative_to(first)).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, own / path.relative_to(first))
        inputs = glance(str(scene), run, settings).inputs
        told = {"scene_id": scene.stem, "origin": [str(scene)], "inputs": inputs}
        (own / "run.json").write_text(json.dumps({**record, **told}, indent=2))
    return config


def measure_published(count: int, long_way: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = published(count, Path(folder))
        taken = seconds_of(config, unchanged=True)
        print(f"{count} published scenes, a local disk: {taken:.1f} s, {1000 * taken / count:.1f} ms a scene")
        record = Path(config.out) / Path(config.scene[0]).stem / "run.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "inputs": None}))
        one = replace(config, scene=config.scene[:1])
        opened = sum(seconds_of(one, unchanged=True) for _ in range(long_way))
        print(f"one of them by the long way, {long_way} times: {1000 * opened / long_way:.1f} ms")


def counted(requests: tuple[Request, ...], scenes: int) -> str:
    """What a scene costs, by method and what it is about."""
    kinds: Counter[str] = Counter()
    for one in requests:
        if not re.search(r"\.kestrel-|_runs/", one.path):  # once a run
            about = next(what for pattern, what in KINDS.items() if re.search(pattern, one.path))
            kinds[f"{one.method} {about}"] += 1
    up, down = (sum(getattr(one, way) for one in requests) / scenes / 1e3 for way in ("bytes_in", "bytes_out"))
    each = ", ".join(f"{count / scenes:g} {kind}" for kind, count in sorted(kinds.items()) if count)
    return f"{kinds.total() / scenes:.1f} requests ({each}), {up:.0f} kB up, {down:.0f} kB down"


def measure_store(count: int) -> None:
    os.environ.update(KEYS)
    with tempfile.TemporaryDirectory() as folder, s3_process() as address:
        for number in range(count):
            write_scene(Path(folder) / f"scene-{number}.tif")
        fill_bucket(address, Path(folder), "scenes")
        fill_bucket(address, None, "results")
        scenes = tuple(f"s3://scenes/scene-{number}.tif" for number in range(count))
        config = RunConfig(scene=scenes, out="s3://results/timed", tiling=TILING)
        os.environ["AWS_ENDPOINT_URL"] = address
        for what, unchanged in (("detected", False), ("published already", True)):
            taken = seconds_of(config, unchanged=unchanged)
            print(f"{what}, S3 server: {1000 * taken / count:.0f} ms a scene of {count}")
        with fault_proxy(address) as proxy:
            os.environ["AWS_ENDPOINT_URL"] = proxy.url
            for what, unchanged in (("detected", False), ("published already", True)):
                proxy.forget_traffic()
                seconds_of(replace(config, out="s3://results/counted"), unchanged=unchanged)
                print(f"{what}: {counted(proxy.traffic.requests, count)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=int, default=0, help="scenes that are published already")
    parser.add_argument("--long-way", type=int, default=20, help="how often one of them is opened all the same (20)")
    parser.add_argument("--store", type=int, default=0, help="scenes from and to an S3 server")
    arguments = parser.parse_args()
    if arguments.published:
        measure_published(arguments.published, arguments.long_way)
    if arguments.store:
        measure_store(arguments.store)
    print(f"on {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
