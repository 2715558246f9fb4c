"""What a look of either family of our own costs: oriented RT-DETR, oriented FCOS, and FCOS with adapters.

  python -m tests.benchmarks.bench_families [--chip 512] [--repeat 10] [--threads 1]

Detectors of the default shape with random weights, one chip of noise, from pixels to detections. Milliseconds are of
the processor, the least and the median of the repeats; the least is what other programs disturb least.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.training.export import training_card
from pipeline.training.families import Family, family_of
from tests.benchmarks.bench_feature_modules import milliseconds
from tests.contracts.detector import make_chip

ROWS = (
    ("oriented RT-DETR", family_of("oriented_rtdetr"), {}),
    ("oriented FCOS", family_of("oriented_fcos"), {}),
    ("first adapted", family_of("oriented_fcos"), {"receptive_field": "first"}),
    ("last adapted", family_of("oriented_fcos"), {"receptive_field": "last"}),
)


def row(name: str, family: Family, fields: dict[str, str], side: int, repeat: int) -> str:
    """One line of the table."""
    network = family.build(family.network(**fields))
    count = sum(parameter.numel() for parameter in network.parameters())
    card = training_card(name, ("thing",), None, side, network.config)
    detector = family.learner(network, None, None, family.losses()).detector(network, card)
    chips = [make_chip((side, side))]
    took = milliseconds(lambda shown: detector.detect(shown, score_threshold=0.3), chips, repeat)
    return f"{name:18} {count:>10} {min(took):9.1f} {median(took):10.1f}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", type=int, default=512, help="side, pixels")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    print(f"{'detector':18} {'parameters':>10} {'least ms':>9} {'median ms':>10}   one chip of {given.chip} px")
    for name, family, fields in ROWS:
        print(row(name, family, fields, given.chip, given.repeat))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
