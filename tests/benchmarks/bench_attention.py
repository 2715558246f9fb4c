"""What the attention probe costs: the same chips through a detector with and without it.

  python -m tests.benchmarks.bench_attention [--weights builtin:ships-s2] [--chip 512] [--batch 4] [--device cpu]

The own work of the probe (what its hooks compute, and the map) is timed where it happens, inside real looks;
looks without it alternate with them, so that other programs on the machine disturb both alike. ``difference`` is the
median difference of such pairs: the same without looking inside, but it drowns in noise on a busy machine. Seconds
are of the processor on a CPU (one thread) and of the wall on a GPU, where only the difference counts: kernels run late.
Exit code 1 above the limit of 3 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from pipeline.storage.fetching import fetch_folder

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.detectors import attention
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_rtdetr import deformable_attention as oriented
from pipeline.detectors.protocol import Detector
from pipeline.detectors.transformers_detr import attention as library
from pipeline.detectors.weights import resolve_weights
from pipeline.types import Chip, Window

LIMIT = 0.03


def chips(batch: int, side: int) -> list[Chip]:
    """``batch`` chips of smooth random content."""
    rng = np.random.default_rng(0)
    window = Window(x=0, y=0, width=side, height=side)
    coarse = rng.integers(0, 256, (batch, side // 16 + 1, side // 16 + 1, 3), np.uint8)
    return [Chip(pixels=c.repeat(16, 0).repeat(16, 1)[:side, :side].copy(), window=window) for c in coarse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Median seconds."""

    look_s: float
    probe_s: float
    difference_s: float


class Timed:
    """Adds up the seconds inside the functions it wraps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.seconds = clock, 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = self.clock()
            answer = function(*args, **kwargs)
            self.seconds += self.clock() - started
            return answer

        return timed

    @contextmanager
    def inside_the_probe(self) -> Iterator[None]:
        """While inside, everything that the probe does counts."""
        with ExitStack() as patches:
            for owner, name in ((oriented, "samples_of"), (library, "samples_of"), (library, "dense_weights"),
                                (attention.AttentionRecord, "maps"), (attention, "_recorder")):  # fmt: skip
                patches.enter_context(patch.object(owner, name, self.wrap(getattr(owner, name))))
            yield


def measure(detector: Detector, batch: list[Chip], repeat: int, clock: Callable[[], float]) -> Cost:
    """What a look and the probe cost."""
    looks, probes, differences = [], [], []
    for number in range(-2, repeat):
        seconds, timed = {}, Timed(clock)
        for asked in (False, True) if number % 2 else (True, False):
            with timed.inside_the_probe():
                started = clock()
                detector.detect(batch, score_threshold=0.3, attention=asked)
                seconds[asked] = clock() - started
        if number >= 0:  # the first ones warm caches up
            looks.append(seconds[False])
            probes.append(timed.seconds)
            differences.append(seconds[True] - seconds[False])
    return Cost(look_s=median(looks), probe_s=median(probes), difference_s=median(differences))


def main() -> int:
    """Print the table; 0 when the overhead is within the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="builtin:ships-s2")
    parser.add_argument("--chip", type=int, default=512, help="side, pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    folder = resolve_weights(given.weights, fetch_folder)
    detector = load_detector(folder, device=given.device, threads=1)
    clock = time.process_time if given.device == "cpu" else time.perf_counter
    cost = measure(detector, chips(given.batch, given.chip), given.repeat, clock)
    share = (cost.probe_s if given.device == "cpu" else cost.difference_s) / cost.look_s
    size = f"{given.batch} x {given.chip} px"
    print(
        f"{'model':12} {'chips':>12} {'device':>7} {'look ms':>9} {'probe ms':>9} {'difference ms':>14} {'overhead':>9}"
    )
    print(
        f"{detector.card.name:12} {size:>12} {given.device:>7} {cost.look_s * 1e3:9.1f} {cost.probe_s * 1e3:9.1f} "
        f"{cost.difference_s * 1e3:14.1f} {share:9.1%}"
    )
    return int(share > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
