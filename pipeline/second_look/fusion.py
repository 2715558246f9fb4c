"""One tile's detections from both looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.config import RefineConfig
from pipeline.geometry.obb import obb_to_aabb
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.second_look.windows import shown_whole
from pipeline.types import STAGES, Crop, Detections, Frame, IntArray, Window

WEIGHT_GLOBAL, WEIGHT_CROP = 0.7, 0.3
"""Score of a matched pair. The paper's."""
BOOST, BOOST_FROM = 0.2, 0.7
"""A crop's scores are multiplied by 1 + 0.2 (SAE - 0.7). The paper's."""

GLOBAL, CROP, FUSED = range(len(STAGES))


def crop_boxes(found: Detections, crop: Crop, lattice: Window, factor: float = 1.0) -> Detections:
    """Of a crop's detections (frame LATTICE) those that are worth more than the global look's. Ours.

    Not those that its sides may cut, except where the scene ends too, and not those so large that the global look,
    with more around them, knows better. ``factor`` is what the crop was shrunk by for the network.
    """
    window = np.array([[crop.window.x, crop.window.y, crop.window.x1, crop.window.y1]])
    kept = found[shown_whole(found.boxes, window, lattice, factor)[0]]
    rows = len(kept)
    return replace(kept, stage=np.full(rows, CROP, np.int64), entropy=np.full(rows, crop.entropy))


def fuse(seen: Detections, crops: Sequence[Detections], config: RefineConfig) -> Detections:
    """One tile's detections from its global look and the boxes of its crops; all in frame LATTICE.

    A box of a crop and a global box of its class are one object when their rotated IoU is at least
    ``config.match_iou`` and their centres lie within half of the shorter side; pairs are taken one to one, best IoU
    first. The crop's box stands, with the score of ``config.score_rule``. What was seen once stays as it was seen,
    with the paper's boost for a crop's own under its rule. (The paper gives the scores; the matching is ours.)
    """
    again = Detections.concat([_boosted(part, config) for part in crops], Frame.LATTICE)
    if not len(again):
        return seen
    first, second = _pairs(seen, again, config.match_iou)
    scores, stage, looks = again.scores.copy(), again.stage.copy(), again.n_merged.copy()
    before = seen.scores[first]
    if config.score_rule == "max":
        scores[second] = np.maximum(before, scores[second])
    else:
        scores[second] = WEIGHT_GLOBAL * before + WEIGHT_CROP * scores[second]
    stage[second] = FUSED
    looks[second] += seen.n_merged[first]
    once = np.setdiff1d(np.arange(len(seen)), first)
    fused = replace(again, scores=scores, stage=stage, n_merged=looks)
    return Detections.concat([seen[once], fused], Frame.LATTICE)


def _boosted(found: Detections, config: RefineConfig) -> Detections:
    if config.score_rule == "max":
        return found
    boost = 1 + BOOST * (np.nan_to_num(found.entropy, nan=BOOST_FROM) - BOOST_FROM)
    return replace(found, scores=np.clip(found.scores * boost, 0, 1))


def _pairs(a: Detections, b: Detections, least_iou: float) -> tuple[IntArray, IntArray]:
    """Rows of ``a`` and of ``b`` that are one object, one to one, best IoU first."""
    bounds_a, bounds_b = obb_to_aabb(a.boxes), obb_to_aabb(b.boxes)
    meet = (bounds_a[:, None, :2] < bounds_b[None, :, 2:]) & (bounds_b[None, :, :2] < bounds_a[:, None, 2:])
    i, j = np.nonzero(meet.all(-1) & (a.class_ids[:, None] == b.class_ids[None]))
    iou = rotated_iou_pairs(a.boxes[i], b.boxes[j])
    apart = np.hypot(*(a.boxes[i, :2] - b.boxes[j, :2]).T)
    near = (iou >= least_iou) & (apart < 0.5 * np.minimum(a.boxes[i, 3], b.boxes[j, 3]))
    i, j, iou = i[near], j[near], iou[near]
    taken_a, taken_b = np.zeros(len(a), np.bool_), np.zeros(len(b), np.bool_)
    first, second = [], []
    for k in np.argsort(-iou, kind="stable"):
        if not (taken_a[i[k]] or taken_b[j[k]]):
            taken_a[i[k]] = taken_b[j[k]] = True
            first.append(i[k])
            second.append(j[k])
    return np.array(first, np.int64), np.array(second, np.int64)
