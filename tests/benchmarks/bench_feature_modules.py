"""What feature modules cost at inference: each by itself, beside the network that it would stand in.

  python -m tests.benchmarks.bench_feature_modules [--chip 512] [--repeat 30] [--threads 1]

Networks of the default shape with random weights, one chip. Milliseconds are of the processor, the least and the median
of the repeats; the least is what other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.detectors.modules.context_enhancement import ContextEnhancement
from pipeline.detectors.modules.foreground_selection import ForegroundSelection
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.detectors.torch_chips import fold_normalisation


def milliseconds(work: Callable[[Any], Any], given: Any, repeat: int) -> list[float]:
    """Of the processor, once for each repeat."""
    took = []
    with torch.inference_mode():
        for number in range(-3, repeat):
            started = time.process_time()
            work(given)
            if number >= 0:  # the first ones warm caches up
                took.append((time.process_time() - started) * 1e3)
    return took


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", type=int, default=512, help="side, pixels")
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    config = NetworkConfig()
    network = fold_normalisation(OrientedRTDetr(config).eval())
    pixels = torch.rand(1, config.bands, given.chip, given.chip).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        levels = network.features(pixels).levels
    parts: dict[str, tuple[Any, Any]] = {
        "network": (network, pixels),
        "context": (fold_normalisation(ContextEnhancement(config.width, len(levels)).eval()), levels),
        "foreground": (ForegroundSelection(config.width, len(levels)).eval(), levels),
    }
    print(f"{'part':12} {'parameters':>10} {'least ms':>9} {'median ms':>10}   one chip of {given.chip} px")
    for name, (part, what) in parts.items():
        took = milliseconds(part.to(memory_format=torch.channels_last), what, given.repeat)
        count = sum(parameter.numel() for parameter in part.parameters())
        print(f"{name:12} {count:>10} {min(took):9.1f} {median(took):10.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
