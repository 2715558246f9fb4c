"""Annotation files, and the pictures they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.scenes import picture


def annotation(**values: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 8], "segmentation": [], **values}


def document(annotations: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 60}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "ship"}, {"id": 2, "name": "car"}],
        "annotations": annotations,
        **values,
    }


def written(folder: Path, content: dict[str, Any], *, images: bool = False) -> Path:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    path = folder / "annotations" / "val.json"
    path.write_text(json.dumps(content))
    if images:
        (folder / "images").mkdir(exist_ok=True)
        for row in content["images"]:
            Image.fromarray(picture(60, 100)).save(folder / "images" / row["file_name"])
    return path


def truth_file(folder: Path, boxes: list[list[float]]) -> Path:
    """The truth of a made scene of ships: boxes in pixels beside the polygons, as ``make_scene`` writes it."""
    names = ("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad")
    properties = [{"class_id": 2, "class_name": "ship", **dict(zip(names, box, strict=True))} for box in boxes]
    features = [{"type": "Feature", "properties": row, "geometry": None} for row in properties]
    path = folder / "harbour.truth.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path
