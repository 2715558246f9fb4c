"""Which detection found which annotation, over whole scenes.

Overlap is the exact rotated IoU. Matching is COCO's: per class and scene, in order of descending score, a detection
takes the free annotation it overlaps most, if that IoU is at least the threshold; then it is right. One that takes
none is neither right nor wrong when an ignore region covers at least the threshold's share of it; otherwise it is
wrong. (The DOTA and VOC kits look only at the annotation of largest overlap, free or not: with annotations that hardly
overlap one another the answers are the same.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.annotations.annotations import EVERY_CLASS, Annotations
from pipeline.geometry.obb import obb_to_aabb
from pipeline.geometry.overlap import intersection_area_pairs
from pipeline.types import Detections, FloatArray, IntArray

RIGHT, WRONG, NEITHER = 1, 0, -1


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What became of the detections of one class, all scenes together, best score first."""

    scores: FloatArray
    """(N,)"""
    verdict: NDArray[np.int8]
    """(T, N) RIGHT, WRONG or NEITHER at each IoU threshold."""
    annotation: IntArray
    """(T, N) which annotation a right detection found, counted over all scenes; -1 otherwise."""
    targets: IntArray
    """(M,) the annotations of this class that were to be found, counted the same way."""
    annotation_count: int
    """Annotations of all scenes and classes, ignore regions included."""
    detection: IntArray
    """(N,) which detection this is, counted over all scenes and classes."""


def match_classes(
    detections: Sequence[Detections], annotations: Sequence[Annotations], iou_thresholds: Sequence[float]
) -> dict[int, Matches]:
    """Matches of every class that has a detection or an annotation, by class id.

    Raises ValueError when there are not as many scenes of detections as of annotations.
    """
    if len(detections) != len(annotations):
        raise ValueError(f"{len(detections)} scenes of detections, but {len(annotations)} of annotations")
    named = [d.class_ids for d in detections] + [a.class_ids[~a.ignore] for a in annotations]
    classes = np.unique(np.concatenate([np.zeros(0, np.int64), *named]))
    return {int(c): _match_class(detections, annotations, int(c), iou_thresholds) for c in classes}


def _match_class(
    detections: Sequence[Detections], annotations: Sequence[Annotations], class_id: int, thresholds: Sequence[float]
) -> Matches:
    scores, verdicts, found, targets, origin, offset, seen = [], [], [], [], [], 0, 0
    for scene, truth in zip(detections, annotations, strict=True):
        rows = np.flatnonzero(scene.class_ids == class_id)
        rows = rows[np.lexsort([*scene.boxes[rows].T, -scene.scores[rows]])]
        own = scene[rows]
        wanted = np.flatnonzero((truth.class_ids == class_id) & ~truth.ignore)
        regions = np.flatnonzero(np.isin(truth.class_ids, (class_id, EVERY_CLASS)) & truth.ignore)
        verdict, taken = _match_scene(own.boxes, truth.boxes[wanted], truth.boxes[regions], thresholds)
        scores.append(own.scores)
        verdicts.append(verdict)
        found.append(np.where(taken >= 0, offset + np.append(wanted, 0)[taken], -1))
        targets.append(offset + wanted)
        origin.append(seen + rows)
        offset, seen = offset + len(truth), seen + len(scene)
    if not scores:
        return Matches(np.zeros(0), np.zeros((len(thresholds), 0), np.int8), np.zeros((len(thresholds), 0), np.int64),
                       np.zeros(0, np.int64), 0, np.zeros(0, np.int64))  # fmt: skip
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Matches(np.concatenate(scores)[order], np.concatenate(verdicts, axis=1)[:, order],
                   np.concatenate(found, axis=1)[:, order], np.concatenate(targets), offset,
                   np.concatenate(origin)[order])  # fmt: skip


def _match_scene(
    boxes: FloatArray, wanted: FloatArray, regions: FloatArray, thresholds: Sequence[float]
) -> tuple[NDArray[np.int8], IntArray]:
    """Verdict (T, N) and taken annotation (T, N), -1 for none, of ranked boxes (N, 5) of one class in one scene."""
    found, target, common = overlaps(boxes, wanted)
    areas = boxes[:, 2] * boxes[:, 3]
    iou = common / (areas[found] + wanted[target, 2] * wanted[target, 3] - common)
    inside = np.zeros(len(boxes))
    covered, _, share = overlaps(boxes, regions)
    np.maximum.at(inside, covered, share / areas[covered])
    taken = np.stack([_take(found, target, iou, threshold, len(boxes)) for threshold in thresholds])
    excused = inside[None, :] >= np.array(thresholds)[:, None]
    verdict = np.where(taken >= 0, RIGHT, np.where(excused, NEITHER, WRONG))
    return verdict.astype(np.int8), taken


def overlaps(a: FloatArray, b: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows of a, rows of b and common areas of all pairs that overlap, by row of a, then b."""
    i, j = shapely.STRtree(shapely.box(*obb_to_aabb(b).T)).query(shapely.box(*obb_to_aabb(a).T))
    order = np.lexsort([j, i])
    i, j = i[order], j[order]
    common = intersection_area_pairs(a[i], b[j])
    return i[common > 0], j[common > 0], common[common > 0]


def _take(found: IntArray, target: IntArray, iou: FloatArray, threshold: float, count: int) -> IntArray:
    """(count,) which target each detection takes, best detection first, each target once; -1 for none."""
    taken, free = np.full(count, -1, np.int64), set(target.tolist())
    best = np.zeros(count)
    for d, t, overlap in zip(found.tolist(), target.tolist(), iou.tolist(), strict=True):
        if overlap >= max(threshold, best[d]) and t in free:
            if taken[d] >= 0:
                free.add(int(taken[d]))
            free.remove(t)
            taken[d], best[d] = t, overlap
    return taken
