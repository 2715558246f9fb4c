"""A fleet by simulation: 12,000 scenes of 110 Mpx a day, ticks of ingestion, and 8 to 512 detectors that wait.

    python -m tests.benchmarks.bench_fleet --plot infra/fleet.png

First the real thing is measured on this machine, in processor time, so that other work on it does not count: the plan
of a scene of 10,980² px, its merge and publication (``--from merge``, every file), the ledger's two writes a scene, and
its table. Then three days are simulated by events: scenes arrive with the day (most of them around noon) and in one
burst; a tick lists what has come, begins scenes newest first with a share of the oldest, as many at once as keep the
detectors busy, begins none after its minutes are over, and the next follows when it has ended. A detector takes
``--tile-s`` a tile; the driver is one thread, through which every plan, block, merge and publication goes. Reads keep
up (CPU nodes are cheap), nothing fails.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import math
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.config import MergeConfig, RunConfig
from pipeline.detectors.weights import model_card
from pipeline.engine.local import LocalExecutor
from pipeline.ingest.entry import Entry, name_of, to_json
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.retries import End
from pipeline.ingest.transitions import claimed, ended
from pipeline.outputs.ledger_table import LedgerRow, empty_ledger, read_ledger
from pipeline.planning.plan import plan_scene, screen
from pipeline.raster.writer import write_scene
from pipeline.runs.context import SILENT
from pipeline.runs.run import detect
from pipeline.types import Chip, Detections, Frame, Look, ModelCard

SIDE_PX, A_DAY, DAY_S, YEAR = 10_980, 12_000, 86_400.0, 365
BURST, BURST_AT_S, BURST_S = 2_000, 1.5 * DAY_S, 3_600.0
"""Scenes beside the daily ones that land within an hour: an archive delivers what it was behind with."""
HAND_S = 0.025
"""Processor seconds of the driver a block (bench_scaling)."""
START_S = 60.0
"""Until a tick's cluster and detectors are up (bench_scaling: 34 to 84 s)."""
STORE_S = 0.05
"""One request to a store, and so many one after another to plan a scene and to publish it."""
PLAN_REQUESTS, END_REQUESTS = 8, 20
SCENE_REQUESTS, BLOCK_REQUESTS = 31, 9
"""Requests in all: of a scene (28 measured for one of a single block; 3 of the ledger), and of each block: its header,
six or seven rows of the file's blocks, its part."""
BACKFILL = 0.2


@dataclass(frozen=True)
class Costs:
    """Of one scene, seconds of the driver's processor, and of the ledger."""

    plan_s: float
    end_s: float
    tiles: int
    blocks: int
    ledger_s: float
    """Two writes."""
    row_bytes: float
    """A scene in the table."""
    row_s: float
    """A row of the table read and written."""
    file_bytes: int


@dataclass(frozen=True)
class OneBox:
    """Looks at nothing and sees one ship in every chip."""

    card: ModelCard

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        box = Detections(np.array([[200.0, 200.0, 12.0, 4.0, 0.3]]), np.array([0.9]), np.array([0]), Frame.CHIP)
        return [Look(box) for _ in chips]


def measure(folder: Path, rows: int) -> Costs:
    """What a scene costs the driver and the ledger, on this machine."""
    path = folder / "scene.tif"
    shades = np.random.default_rng(0).integers(300, 900, (64, 64, 3), dtype=np.uint16)
    write_scene(
        path, width=SIDE_PX, height=SIDE_PX, bands=3, dtype="uint16", crs="EPSG:32631", level=1, overviews=True,
        transform=(10.0, 0.0, 5e5, 0.0, -10.0, 5.7e6),
        render=lambda w: np.tile(shades, (-(-w.height // 64), -(-w.width // 64), 1))[: w.height, : w.width],
    )  # fmt: skip
    card = model_card("builtin:ships-s2")
    config = RunConfig(scene=(str(path),), out=str(folder / "out"), executor="local")
    executor = LocalExecutor(partial(OneBox, card))
    began = time.process_time()
    plan, _ = screen(plan_scene(str(path), config, card, None), config, card)
    plan_s = time.process_time() - began
    detect(config, card, executor, SILENT)
    other = replace(config, start_from="merge", merge=MergeConfig(iou_threshold=0.31))  # else there is nothing to do
    again = time.process_time()
    report = detect(other, card, executor, SILENT)
    end_s = time.process_time() - again - plan_s
    assert report.exit_code == 0
    assert report.scenes[0].detections > 100
    ledger_s, file_bytes = ledger_writes(folder / "ledger", 500)
    row_bytes, row_s = table_rows(folder / "ledger.parquet", rows)
    return Costs(plan_s, end_s, len(plan.tiles), len(plan.blocks), ledger_s, row_bytes, row_s, file_bytes)


def entries(number: int) -> tuple[Entry, Entry]:
    """A scene as it is claimed and as it is published."""
    key = f"planet/sentinel-2-l2a/S2B_31UFU_{number:08d}_0_L2A"
    new = Entry(key=key, scene_id=f"S2B_31UFU_{number:08d}_0_L2A-{number:010x}", seen="2026-07-01T11:02:03+00:00",
                origin=f"s3://bucket/{key}/visual.tif", acquired="2026-07-01T10:56:21+00:00")  # fmt: skip
    drawn = hashlib.sha256(str(number).encode()).hexdigest()
    ours = claimed(new, tick="0123456789abcdef", hint=drawn, version=drawn[::-1], alone=False)
    end = End(status="PUBLISHED", exit_code=0, sentence="", run_id=drawn[:16])
    return ours, ended(ours, end, "2026-07-01T11:12:13+00:00")


def ledger_writes(out: Path, scenes: int) -> tuple[float, int]:
    """(processor seconds a scene of claiming and ending in a real ledger, bytes of a file)."""
    ledger = Ledger(str(out), print)
    ledger.load()
    pairs = [entries(number) for number in range(scenes)]
    began = time.process_time()
    for first, last in pairs:
        record = ledger.write(first, None)
        assert record is not None
        assert ledger.write(last, record) is not None
    return (time.process_time() - began) / scenes, len(to_json(pairs[0][1]))


def table_rows(path: Path, rows: int) -> tuple[float, float]:
    """(bytes, processor seconds to write and read) of a row of the ledger's table."""
    made = {}
    for number in range(rows):
        entry = entries(number)[1]
        name = name_of(entry.key)
        made[name] = LedgerRow(
            name=name, mark=hashlib.md5(name.encode()).hexdigest(), modified=datetime.now(UTC), key=entry.key,
            scene_id=entry.scene_id, state=str(entry.state), entry=to_json(entry).decode(),
        )  # fmt: skip
    table = empty_ledger().with_rows(made, set())
    began = time.process_time()
    path.write_bytes(table.to_parquet())
    read_ledger(path.read_bytes())
    return path.stat().st_size / rows, (time.process_time() - began) / rows


def arrivals(days: int) -> list[float]:
    """Seconds at which scenes land: as many at noon as there are none at midnight, and the burst."""
    generator = np.random.default_rng(1)
    drawn = generator.uniform(0, days * DAY_S, 4 * days * A_DAY)
    kept = drawn[generator.uniform(0, 2, len(drawn)) < 1 - np.cos(2 * np.pi * drawn / DAY_S)][: days * A_DAY]
    return sorted([*kept, *generator.uniform(BURST_AT_S, BURST_AT_S + BURST_S, BURST)])


@dataclass
class Fleet:
    """One number of detectors through all arrivals; what it was like."""

    workers: int
    costs: Costs
    tile_s: float
    every_s: float
    minutes: float

    def run(self, landed: list[float]) -> Fleet:
        """Simulate until the last arrival, and what is in flight then."""
        self.lags: list[float] = []
        self.up_s = self.looked_s = self.driver_s = 0.0
        self.requests = np.zeros(math.ceil(landed[-1] / 600) + 1000)
        """By ten minutes."""
        came, waiting, now = deque(landed), deque[float](), 0.0
        while now < landed[-1]:
            while came and came[0] <= now:
                waiting.append(came.popleft())
            over = self.tick(waiting, now)
            self.up_s += over - now
            now = max(over, self.every_s * math.ceil((over + 1) / self.every_s))
        self.left, self.span_s = len(waiting) + len(came), now
        return self

    def tick(self, waiting: deque[float], started: float) -> float:
        """One tick over what had landed when it listed; returns when it ends."""
        costs, events, ready = self.costs, list[tuple[float, int, str, int]](), deque[int]()
        block_s = self.tile_s * costs.tiles / costs.blocks
        most = max(2, math.ceil(2 * self.workers / costs.blocks) + 1)
        idle, begun, flying, free = self.workers, 0, 0, started
        arrived: dict[int, float] = {}
        left: dict[int, int] = {}

        def driver(now: float, cpu_s: float) -> float:
            nonlocal free
            free, self.driver_s = max(free, now) + cpu_s, self.driver_s + cpu_s
            return free

        now = started + START_S + STORE_S
        until = started + 60 * self.minutes
        while True:
            while waiting and flying < most and now < until:
                begun, flying = begun + 1, flying + 1
                oldest = begun % round(1 / BACKFILL) == 0
                arrived[begun] = waiting.popleft() if oldest else waiting.pop()
                planned = driver(now, costs.plan_s + costs.ledger_s) + PLAN_REQUESTS * STORE_S
                heapq.heappush(events, (planned, begun, "planned", begun))
            while idle and ready:
                idle -= 1
                heapq.heappush(events, (driver(now, HAND_S) + block_s, len(ready), "block", ready.popleft()))
            if not events:
                return now
            now, _, what, scene = heapq.heappop(events)
            if what == "planned":
                left[scene] = costs.blocks
                ready.extend([scene] * costs.blocks)
            elif what == "block":
                idle, left[scene], self.looked_s = idle + 1, left[scene] - 1, self.looked_s + block_s
                self.requests[int(now // 600)] += BLOCK_REQUESTS
                if not left[scene]:
                    published = driver(now, costs.end_s) + END_REQUESTS * STORE_S
                    heapq.heappush(events, (published, scene, "published", scene))
            else:
                flying -= 1
                self.lags.append(now - arrived.pop(scene))
                self.requests[int(now // 600)] += SCENE_REQUESTS

    def row(self) -> str:
        """A line of the table."""
        lag = np.array(self.lags) / 3600
        busy = self.looked_s / (self.workers * self.up_s)
        days = self.span_s / DAY_S
        return (
            f"| {self.workers} | {len(lag) / days:,.0f} | {self.left:,} | {np.median(lag):.2f} | "
            f"{np.quantile(lag, 0.99):.2f} | {self.up_s / self.span_s:.0%} | {busy:.0%} | "
            f"{self.driver_s / self.up_s:.2f} | {self.requests.sum() / self.span_s:.0f} | "
            f"{self.requests.max() / 600:.0f} | {self.workers * self.up_s / 3600 / days:,.0f} |"
        )


def plot(fleets: list[Fleet], path: Path) -> None:
    """Lag, and what is busy, over the number of detectors."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    workers = [one.workers for one in fleets]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for share, label in ((0.5, "median"), (0.99, "99 %")):
        left.plot(workers, [np.quantile(one.lags, share) / 3600 for one in fleets], "o-", label=label)
    left.set(yscale="log", ylabel="hours from arrival to publication")
    right.plot(workers, [one.looked_s / (one.workers * one.up_s) for one in fleets], "o-", label="detectors busy")
    right.plot(workers, [one.driver_s / one.up_s for one in fleets], "o-", label="driver, cores")
    right.plot(workers, [one.up_s / one.span_s for one in fleets], "o-", label="a tick is at work")
    right.set(ylim=(0, 1.05))
    for axes in (left, right):
        axes.set(xscale="log", xticks=workers, xticklabels=workers, xlabel="detectors")
        axes.minorticks_off()
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256, 512])
    parser.add_argument("--tile-s", type=float, default=0.058, help="of a detector at a tile (0.058: one core, ONNX)")
    parser.add_argument("--every-s", type=float, default=900.0, help="from one tick to the next (900)")
    parser.add_argument("--minutes", type=float, default=50.0, help="after which a tick begins no scene (50)")
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000, help="of the ledger's table that is measured (200000)")
    parser.add_argument("--plot", type=Path, help="where to write the figure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder), arguments.rows)
    print(costs)
    scenes = A_DAY * YEAR
    print(f"the ledger after a year: {scenes:,} files of {costs.file_bytes} bytes; a table of "
          f"{scenes * costs.row_bytes / 1e6:,.0f} MB that takes {scenes * costs.row_s:,.0f} s of a processor to read "
          f"and write; {scenes / 1000:,.0f} requests to list")  # fmt: skip
    print("| detectors | scenes a day | left over | lag, h: median | 99 % | at work | detectors busy | driver, cores | "
          "requests/s | most | detector hours a day |\n|" + "---|" * 11)  # fmt: skip
    landed, fleets = arrivals(arguments.days), []
    for workers in arguments.workers:
        fleet = Fleet(workers, costs, arguments.tile_s, arguments.every_s, arguments.minutes)
        fleets.append(fleet.run(landed))
        print(fleet.row(), flush=True)
    if arguments.plot:
        plot(fleets, arguments.plot)


if __name__ == "__main__":
    main()
