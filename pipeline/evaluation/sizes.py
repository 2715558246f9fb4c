"""Which objects are found: average precision by object size, recall by distance to the nearest border of two tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.average_precision import area_under_curve, mean_over_classes
from pipeline.evaluation.matching import NEITHER, RIGHT, WRONG, Matches
from pipeline.types import Detections, FloatArray

SEAM_BANDS_PX = (0.0, 16.0, 32.0, 64.0, np.inf)
"""Limits of the bands of distance to a seam, lattice pixels."""


def root_areas(parts: Sequence[Annotations] | Sequence[Detections]) -> FloatArray:
    """(N,) root of the area of every box, all images one after another, pixels."""
    return np.concatenate([np.zeros(0), *(np.sqrt(part.boxes[:, 2] * part.boxes[:, 3]) for part in parts)])


def oriented_ap50_by_size(
    found: Mapping[int, Matches], annotated: FloatArray, detected: FloatArray, sizes: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """AP (first IoU threshold, all points) of the objects whose root area lies in each range of ``sizes``.

    ``annotated`` and ``detected`` are the root areas behind ``found``. See :func:`of_size`."""
    return {
        name: mean_over_classes([
            area_under_curve(of_size(matches, annotated, detected, low, high)) for matches in found.values()
        ])
        for name, (low, high) in sizes.items()
    }  # fmt: skip


def of_size(matches: Matches, annotated: FloatArray, detected: FloatArray, low: float, high: float) -> Matches:
    """The matches of the objects whose root area lies in [low, high].

    As in COCO's evaluator a detection that found an object of another size is neither right nor wrong, and so is one
    of another size that found nothing. (COCO lets a detection take an object of another size only when none of the
    right size is free: where objects overlap, answers may differ.)
    """
    wanted = (annotated >= low) & (annotated <= high)
    own = detected[matches.detection]
    verdict = matches.verdict.copy()
    verdict[(verdict == RIGHT) & ~np.append(wanted, True)[matches.annotation]] = NEITHER
    verdict[(verdict == WRONG) & ~((own >= low) & (own <= high))[None]] = NEITHER
    return replace(matches, verdict=verdict, targets=matches.targets[wanted[matches.targets]])


def recall_by_seam_distance(
    found: Mapping[int, Matches], seam_px: FloatArray, score_threshold: float
) -> dict[str, dict[str, float | int]]:
    """Objects, and the share of them found with at least ``score_threshold``, in each band of SEAM_BANDS_PX.

    ``seam_px`` (A,) is the distance of every annotation to the nearest seam; those without a seam (inf) are in no band.
    """
    hit = np.zeros(len(seam_px), np.bool_)
    target = np.zeros(len(seam_px), np.bool_)
    for matches in found.values():
        hit[matches.annotation[0, (matches.verdict[0] == RIGHT) & (matches.scores >= score_threshold)]] = True
        target[matches.targets] = True
    bands = {}
    for low, high in pairwise(SEAM_BANDS_PX):
        inside = target & (seam_px >= low) & (seam_px < high)
        count = int(inside.sum())
        if count:
            bands[f"{low:g} px and more" if np.isinf(high) else f"{low:g} to {high:g} px"] = {
                "objects": count,
                "recall": float(hit[inside].mean()),
            }
    return bands
