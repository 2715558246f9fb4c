"""What a row says of a trained network: average precision, also of tiny objects by size, parameters, time a chip."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.detectors.protocol import Detector
from pipeline.evaluation.average_precision import (
    COCO_IOU_THRESHOLDS,
    STRICT,
    area_under_curve,
    coco_average,
    mean_over_classes,
)
from pipeline.evaluation.matching import Matches, match_classes
from pipeline.evaluation.sizes import of_size, root_areas
from pipeline.types import Chip, Detections, Window

SIZES_PX: Mapping[str, tuple[float, float]] = {"2-8": (2.0, 8.0), "8-16": (8.0, 16.0), "16-32": (16.0, 32.0)}
"""Of root areas, pixels: very tiny, tiny and small (AI-TOD, Wang et al. 2021)."""
CHIP_PX = 512
TIMED = 7


def figures_of(found: Sequence[Detections], truth: Sequence[Annotations]) -> dict[str, Any]:
    """``ap`` (IoU 0.50 to 0.95), ``ap50``, ``ap75`` and both of the former by size; NaN where nothing is to be found.

    One entry a scene each. See :mod:`pipeline.evaluation.average_precision`.
    """
    matches = match_classes(found, truth, COCO_IOU_THRESHOLDS)
    annotated, detected = root_areas(truth), root_areas(found)
    by_size = {
        name: [of_size(one, annotated, detected, low, high) for one in matches.values()]
        for name, (low, high) in SIZES_PX.items()
    }
    return {
        "ap": _mean_ap(list(matches.values())),
        "ap50": mean_over_classes([area_under_curve(one) for one in matches.values()]),
        "ap75": mean_over_classes([area_under_curve(one, STRICT) for one in matches.values()]),
        "ap_by_size": {name: _mean_ap(own) for name, own in by_size.items()},
        "ap50_by_size": {n: mean_over_classes([area_under_curve(one) for one in own]) for n, own in by_size.items()},
        "objects_by_size": {name: sum(len(one.targets) for one in own) for name, own in by_size.items()},
        "objects": sum(len(one.targets) for one in matches.values()),
        "scenes": len(truth),
    }


def _mean_ap(found: Sequence[Matches]) -> float:
    return mean_over_classes([coco_average(one) for one in found])


def milliseconds_per_chip(detector: Detector) -> float:
    """Median CPU time of one chip of CHIP_PX, from pixels to detections: with one thread on an idle machine that is
    also how long it takes, and what else the machine does hardly changes it."""
    shape = (CHIP_PX, CHIP_PX, len(detector.card.bands))
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    chip = Chip(pixels=pixels, window=Window(x=0, y=0, width=CHIP_PX, height=CHIP_PX))
    times = []
    for _ in range(TIMED + 1):  # the first warms up
        start = time.process_time()
        detector.detect([chip], score_threshold=detector.card.score_threshold)
        times.append(time.process_time() - start)
    return float(1000 * np.median(times[1:]))
