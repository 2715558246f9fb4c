"""The oracle among selectors: where a second look would gain most, by the truth."""

from __future__ import annotations

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.second_look.selectors import of_each_tile
from pipeline.second_look.windows import Gain, Glance, Windows, centres_inside, shown_whole, too_close
from pipeline.types import Detections, FloatArray, IntArray, Window

FOUND_IOU = 0.5
"""An object is found by the global look when a detection of its class overlaps it this much."""


def oracle_gain(truth: Annotations, reachable: FloatArray, lattice: Window) -> Gain:
    """Gain of a window for who knows the truth (frame LATTICE): what the scores of true objects rise by, per pixel.

    ``reachable`` (M,) is the score that each object gets as close as crops show it, 0 for what is missed there too;
    see :func:`scores_of`. An object counts in the window of a tile that shows it first; ignore regions are nothing to
    be found.
    """
    wanted = np.flatnonzero(~truth.ignore)
    boxes, class_ids, best_score = truth.boxes[wanted], truth.class_ids[wanted], reachable[wanted]

    def gain(glance: Glance, windows: Windows) -> FloatArray:
        rise = np.maximum(0.0, best_score - scores_of(boxes, class_ids, glance.detections))
        shown = centres_inside(boxes, windows.boxes) & shown_whole(boxes, windows.boxes, lattice, windows.factor)
        gains, free = np.zeros(len(shown)), np.ones(len(shown), np.bool_)
        while (left := np.where(free, shown @ rise / windows.pixels, 0.0)).any():
            best = int(left.argmax())
            gains[best] = left[best]
            shown &= ~shown[best]
            free &= ~too_close(windows.boxes[best], windows.boxes)
        return gains

    return of_each_tile(gain)


def scores_of(boxes: FloatArray, class_ids: IntArray, seen: Detections) -> FloatArray:
    """(M,) the best score among the detections of an object's class that overlap it by FOUND_IOU; 0 for none."""
    i, j = np.nonzero(class_ids[:, None] == seen.class_ids[None])
    found = rotated_iou_pairs(boxes[i], seen.boxes[j]) >= FOUND_IOU
    scores = np.zeros(len(boxes))
    np.maximum.at(scores, i[found], seen.scores[j[found]])
    return scores
