"""COCO: its annotation files, and its own evaluator for horizontal boxes. pycocotools' only home."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.errors import ConfigError
from pipeline.evaluation.oriented import EVERY_CLASS, Annotations
from pipeline.geometry import aabb_to_obb, canonical_obb, corners_to_obb, obb_to_aabb
from pipeline.types import Detections, FloatArray

IGNORED_CATEGORY = "dont_care"
"""HIT-UAV's category for regions where no class may be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedScenes:
    """A COCO annotation file."""

    classes: tuple[str, ...]
    """Names in the order of the file's category ids; ``class_ids`` are indices into it."""
    scenes: dict[str, Annotations]
    """By file name, in the order of the file; boxes in scene pixels."""


def read_annotations(path: Path) -> AnnotatedScenes:
    """Oriented truth of a COCO json file: corners where ``segmentation`` holds four, else ``rbox``, else ``bbox``.

    ``iscrowd`` or ``ignore`` marks ignore regions; those of category ``dont_care`` concern every class.
    Raises ConfigError when the file is no COCO json.
    """
    try:
        document = json.loads(path.read_text())
        categories = sorted(document["categories"], key=lambda category: int(category["id"]))
        names = {image["id"]: str(image["file_name"]) for image in document["images"]}
        rows: dict[Any, list[dict[str, Any]]] = {key: [] for key in names}
        for annotation in document["annotations"]:
            rows[annotation["image_id"]].append(annotation)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read as COCO annotations ({error!r}); give a COCO json file") from error
    kept = [category for category in categories if category["name"] != IGNORED_CATEGORY]
    class_of = {category["id"]: i for i, category in enumerate(kept)}
    return AnnotatedScenes(
        classes=tuple(str(category["name"]) for category in kept),
        scenes={name: _scene(rows[key], class_of) for key, name in names.items()},
    )


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
    truth = _coco_truth(annotations, class_count)
    results = [row for scene, d in enumerate(detections) for row in _coco_results(scene, d)]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        index = COCO()
        index.dataset = truth
        index.createIndex()
        evaluation = COCOeval(index, index.loadRes(results) if results else _nothing_found(truth), "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0, 0], evaluation.eval["recall"][..., 0, 0]
    return {
        "ap": _mean_of_known(precision),
        "ap50": _mean_of_known(precision[0]),
        "ap75": _mean_of_known(precision[5]),
        "recall": _mean_of_known(recall),
    }


def _scene(rows: list[dict[str, Any]], class_of: dict[Any, int]) -> Annotations:
    boxes = [_box(row) for row in rows]
    return Annotations(
        np.concatenate(boxes) if boxes else np.zeros((0, 5)),
        np.array([class_of.get(row["category_id"], EVERY_CLASS) for row in rows], np.int64),
        np.array([_is_ignored(row) or row["category_id"] not in class_of for row in rows], np.bool_),
    )


def _is_ignored(row: dict[str, Any]) -> bool:
    return bool(row.get("iscrowd") or row.get("ignore"))


def _box(row: dict[str, Any]) -> FloatArray:
    rings = row.get("segmentation")
    if isinstance(rings, list) and rings and len(rings[0]) == 8:
        return corners_to_obb(np.array(rings[0], np.float64).reshape(1, 4, 2))
    if "rbox" in row:
        return canonical_obb(np.array([row["rbox"]], np.float64))
    x, y, width, height = row["bbox"]
    return aabb_to_obb(np.array([[x, y, x + width, y + height]], np.float64))


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
