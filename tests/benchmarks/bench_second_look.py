"""What the second look costs: bare passes of the network, the pipeline without it, and with it, on the same tiles.

    python -m tests.benchmarks.bench_second_look [--side 2048] [--threads 1] [--runtime auto] [--rounds 3]

A procedural harbour is read once and cut into tiles; each row works them off with the embedded detector:

* ``bare``: the network alone on ready chips, in the same batches: the limit;
* ``one look``: the worker, with everything around the network (shrinking, frames, accounting);
* ``two looks``: with crops for a quarter of the pixels; and bare passes over exactly the same chips and crops.

Times are medians over rounds of seconds of one process, interleaved so that a busy machine slows all rows alike.
Reading is not counted: in a run it goes on beside the network, in processes of its own; its seconds stand below.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.config import RefineConfig, RunConfig, TilingConfig
from pipeline.detectors.protocol import Detector
from pipeline.detectors.weights import load
from pipeline.engine.block import BlockPixels, read_block
from pipeline.engine.worker import TileWorker
from pipeline.planning.plan import WorkOrder, plan_scene, screen
from pipeline.raster.writer import write_scene
from pipeline.synth.harbour.harbour import Harbour
from pipeline.types import Block, Chip, Look, ModelCard

WEIGHTS = "builtin:ships-s2"
SEED = 20_000_011


class Recorded:
    """A detector that remembers what it was shown, so that it can be shown again without the pipeline."""

    def __init__(self, inner: Detector) -> None:
        self.inner, self.card = inner, inner.card
        self.calls: list[tuple[Sequence[Chip], float, bool]] = []

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        self.calls.append((chips, score_threshold, attention))
        return self.inner.detect(chips, score_threshold=score_threshold, attention=attention)


def harbour_on_disk(folder: Path, side: int) -> Path:
    """A 16-bit harbour of 10 m pixels."""
    path = folder / "harbour.tif"
    harbour = Harbour(seed=SEED, width=side, height=side)
    write_scene(path, width=side, height=side, bands=3, dtype="uint16", crs="EPSG:32632",
                transform=(10.0, 0.0, 4e5, 0.0, -10.0, 5e6), render=harbour.render)  # fmt: skip
    return path


def plan_of(path: Path, card: ModelCard, config: RunConfig) -> tuple[WorkOrder, tuple[Block, ...]]:
    plan, order = screen(plan_scene(str(path), config, card, None), config, card)
    return order, plan.blocks


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(path: Path, detector: Detector, rounds: int) -> None:
    """Print the table."""
    base = RunConfig(tiling=TilingConfig(global_factor=2.0))
    settings = {
        "one look": replace(base, refine=RefineConfig(selector="none")),
        "two looks": replace(base, refine=RefineConfig(selector="ours", budget=0.25)),
    }
    pixels: list[BlockPixels] = []
    rows: dict[str, tuple[Callable[[], object], Callable[[], object], int, int]] = {}
    for name, config in settings.items():
        plan, blocks = plan_of(path, detector.card, config)
        pixels = pixels or [read_block(plan, block) for block in blocks]
        recorded = Recorded(detector)
        outcomes = [TileWorker(recorded)(plan, *pair) for pair in zip(blocks, pixels, strict=True)]  # warms up too

        work = tuple(zip(blocks, pixels, strict=True))

        def pipeline(plan: WorkOrder = plan, work: Sequence[tuple[Block, BlockPixels]] = work) -> object:
            return [TileWorker(detector)(plan, *pair) for pair in work]

        def bare(calls: Sequence[tuple[Sequence[Chip], float, bool]] = tuple(recorded.calls)) -> object:
            return [detector.detect(chips, score_threshold=score) for chips, score, _ in calls]

        tiles = sum(len(block.tiles) for block in blocks)
        rows[name] = bare, pipeline, tiles, sum(outcome.cost.network_px for outcome in outcomes)
    print(f"{'':22}{'s':>8}{'tiles/s':>9}{'network Mpx/s':>15}{'over bare':>11}")
    for name, (bare, pipeline, tiles, network_px) in rows.items():
        times = [(seconds(bare), seconds(pipeline)) for _ in range(rounds)]
        limit, whole = (statistics.median(column) for column in zip(*times, strict=True))
        for label, taken in ((f"bare, {name}", limit), (name, whole)):
            over = f"{100 * (taken / limit - 1):10.1f}%" if label == name else ""
            print(f"{label:22}{taken:8.2f}{tiles / taken:9.2f}{network_px / taken / 1e6:15.2f}{over:>11}")
    print(f"reading took {sum(one.read_s for one in pixels):.2f} s, in a run beside the network")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048, help="side of the harbour, pixels of 10 m")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--runtime", default="auto", help="auto, torch or onnx")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    detector = load(WEIGHTS, arguments.device, arguments.precision, arguments.threads, arguments.runtime)
    with tempfile.TemporaryDirectory() as folder:
        compare(harbour_on_disk(Path(folder), arguments.side), detector, arguments.rounds)


if __name__ == "__main__":
    main()
