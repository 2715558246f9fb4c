"""COCO's own evaluator for horizontal boxes. pycocotools' only home."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.annotations.annotations import EVERY_CLASS, Annotations
from pipeline.geometry.obb import obb_to_aabb
from pipeline.types import Detections, FloatArray

SIZES: dict[str, tuple[float, float]] = {
    "very_tiny": (2, 8),
    "tiny": (8, 16),
    "small": (16, 32),
    "coco_small": (0, 32),
    "medium": (32, 96),
    "large": (96, 1e5),
}
"""Root of an object's area, pixels: the first three as AI-TOD has them (Wang et al. 2021), the others COCO's."""


def horizontal_metrics(
    detections: Sequence[Detections],
    annotations: Sequence[Annotations],
    *,
    class_count: int,
    max_detections: int = 1_000_000,
) -> dict[str, float]:
    """COCO's bbox metrics of the axis-aligned bounds of both: ``ap`` (0.50:0.95), ``ap50``, ``ap75`` and ``recall``.

    ``recall`` is COCO's AR at ``max_detections`` per scene and class. pycocotools' own limit of 100 drops most of
    what a large scene holds, so it is never left to its default. NaN when nothing is annotated.
    """
    evaluated = _evaluated(detections, annotations, class_count, max_detections, ["all"])
    precision = evaluated["precision"][..., 0, 0]
    return {**_averages(precision), "recall": _mean_of_known(evaluated["recall"][..., 0, 0])}


def metrics_by_size(
    detections: Sequence[Detections], annotations: Sequence[Annotations], *, class_count: int, max_detections: int = 500
) -> dict[str, float]:
    """COCO's AP (0.50:0.95), AP50 and AP75 of the bounds, and AP (``ap_<size>``) for every size of SIZES.

    Objects of other sizes are ignored, and so are detections of other sizes that find nothing. NaN where nothing is
    annotated.
    """
    evaluated = _evaluated(detections, annotations, class_count, max_detections, ["all", *SIZES])
    precision = evaluated["precision"][..., 0]
    by_size = {f"ap_{name}": _mean_of_known(precision[..., 1 + i]) for i, name in enumerate(SIZES)}
    return {**_averages(precision[..., 0]), **by_size}


def _averages(precision: FloatArray) -> dict[str, float]:
    """From precision (thresholds, recalls, classes)."""
    named = {"ap": precision, "ap50": precision[0], "ap75": precision[5]}
    return {name: _mean_of_known(values) for name, values in named.items()}


def _evaluated(
    detections: Sequence[Detections], annotations: Sequence[Annotations], class_count: int, limit: int, sizes: list[str]
) -> dict[str, Any]:
    """pycocotools' own result: precision (thresholds, recalls, classes, sizes, 1) and recall."""
    truth = _coco_truth(annotations, class_count)
    results = [row for scene, d in enumerate(detections) for row in _coco_results(scene, d)]
    ranges = {"all": (0.0, 1e5), **SIZES}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        index = COCO()
        index.dataset = truth
        index.createIndex()
        evaluation = COCOeval(index, index.loadRes(results) if results else _nothing_found(truth), "bbox")
        evaluation.params.maxDets = [limit]
        evaluation.params.areaRng = [[side**2 for side in ranges[name]] for name in sizes]
        evaluation.params.areaRngLbl = sizes
        evaluation.evaluate()
        evaluation.accumulate()
    result: dict[str, Any] = evaluation.eval
    return result


def _coco_truth(annotations: Sequence[Annotations], class_count: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for scene, truth in enumerate(annotations):
        for bounds, class_id, ignore in zip(obb_to_aabb(truth.boxes), truth.class_ids, truth.ignore, strict=True):
            concerned = range(class_count) if class_id == EVERY_CLASS else (int(class_id),)
            rows += [{"image_id": scene, "category_id": c, "iscrowd": int(ignore), **_bbox(bounds)} for c in concerned]
    return {
        "images": [{"id": scene} for scene in range(len(annotations))],
        "categories": [{"id": class_id} for class_id in range(class_count)],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=1)],
    }


def _coco_results(scene: int, detections: Detections) -> list[dict[str, Any]]:
    columns = zip(obb_to_aabb(detections.boxes), detections.class_ids, detections.scores, strict=True)
    return [
        {"image_id": scene, "category_id": int(class_id), "score": float(score), **_bbox(bounds)}
        for bounds, class_id, score in columns
    ]


def _bbox(bounds: FloatArray) -> dict[str, Any]:
    x0, y0, x1, y1 = bounds.tolist()
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}


def _nothing_found(truth: dict[str, Any]) -> COCO:
    """An index of no results; pycocotools cannot load an empty list."""
    index = COCO()
    index.dataset = {**truth, "annotations": []}
    index.createIndex()
    return index


def _mean_of_known(values: FloatArray) -> float:
    """Mean without the -1 that pycocotools writes where nothing is annotated."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")
