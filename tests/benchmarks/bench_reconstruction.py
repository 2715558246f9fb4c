"""What SR-TOD costs at inference: the same chips through the same detector with and without its reconstruction.

  python -m tests.benchmarks.bench_reconstruction [--family oriented_rtdetr] [--backbone resnet]
      [--chip 512] [--batch 2] [--repeat 15] [--threads 1] [--device cpu]

Networks of the default shape with random weights: speed does not depend on what they learnt. Looks with and without
alternate, so that other programs on the machine disturb both alike. Milliseconds a chip are of the processor on a CPU
(all threads together) and of the wall on a GPU; ``ratio`` is that of the medians, ``map`` what bringing the difference
map onto its grid takes of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.detectors.difference import difference_maps
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_fcos.network import FCOSConfig, OrientedFCOS
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.detectors.protocol import Detector
from pipeline.types import ModelCard
from tests.benchmarks.bench_attention import chips

FORMS = ("none", "learnable", "official")


def detector(family: str, backbone: str, reconstruction: str, device: str) -> Detector:
    """One with random weights; the same ones each time."""
    torch.manual_seed(0)
    card = ModelCard(
        name=reconstruction, classes=("ship",), gsd_m=None, bands=("red", "green", "blue"), input_px=512,
        sha256="0" * 64, oriented=True,
    )  # fmt: skip
    if family == "oriented_fcos":
        fcos = OrientedFCOS(FCOSConfig(backbone=backbone, reconstruction=reconstruction))
        return OrientedFCOSDetector(fcos, card, device)
    network = OrientedRTDetr(NetworkConfig(backbone=backbone, reconstruction=reconstruction))
    return OrientedDetector(network, card, device)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=("oriented_rtdetr", "oriented_fcos"), default="oriented_rtdetr")
    parser.add_argument("--backbone", choices=("resnet", "efficientnet_lite0"), default="resnet")
    parser.add_argument("--chip", type=int, default=512, help="side, pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock: Callable[[], float] = time.process_time if given.device == "cpu" else time.perf_counter
    batch = chips(given.batch, given.chip)
    detectors = {form: detector(given.family, given.backbone, form, given.device) for form in FORMS}
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    maps: list[float] = []
    for number in range(-2, given.repeat):
        for form in FORMS if number % 2 else FORMS[::-1]:
            started = clock()
            detectors[form].detect(batch, score_threshold=0.3)
            if number >= 0:  # the first ones warm caches up
                seconds[form].append((clock() - started) / given.batch)
        plane = torch.rand(given.batch, 1, given.chip, given.chip)
        started = clock()
        difference_maps(plane, [(given.chip, given.chip)] * given.batch)
        maps.append((clock() - started) / given.batch)
    plain, size = median(seconds["none"]), f"{given.batch} x {given.chip} px"
    print(f"{'reconstruction':14} {'chips':>12} {'device':>7} {'threads':>8} {'ms/chip':>8} {'ratio':>6} {'map ms':>7}")
    for form in FORMS:
        took, of_map = median(seconds[form]), 0.0 if form == "none" else median(maps) * 1e3
        where = f"{size:>12} {given.device:>7} {given.threads:>8}"
        print(f"{form:14} {where} {took * 1e3:8.1f} {took / plain:6.2f} {of_map:7.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
