"""Which class is taken for which, with the background as one more."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.errors.kinds import Judgement, Kind
from pipeline.types import IntArray


def confusion(judgement: Judgement, class_count: int, score_threshold: float) -> IntArray:
    """(C + 1, C + 1) counts of the detections of at least ``score_threshold``: truth by row, detected by column.

    The last row is the background, on which detections lie that are of no object; the last column holds the objects
    that were not found. Every object stands in its row once and every judged detection in its column once: an object
    goes to the detection that found it, else to the best one of the wrong class at an IoU of at least 0.5; all further
    detections on it are of the background.
    """
    counts = np.zeros((class_count + 1, class_count + 1), np.int64)
    free = judgement.unfound(score_threshold)
    for row in judgement.ranked.tolist():
        kind, detected, target = judgement.kind[row], judgement.class_ids[row], judgement.target[row]
        if judgement.scores[row] < score_threshold:
            break
        if kind == Kind.NOT_JUDGED:
            continue
        taken = kind == Kind.RIGHT or (kind == Kind.WRONG_CLASS and free[target])
        if taken:
            free[target] = False
        counts[judgement.annotation_class[target] if taken else class_count, detected] += 1
    counts[:class_count, class_count] += np.bincount(judgement.annotation_class[free], minlength=class_count)
    return counts
