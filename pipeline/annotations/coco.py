"""COCO annotation files → truth."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.annotations import EVERY_CLASS, FLAT, OUTSIDE, AnnotatedScenes, Annotations, left_out
from pipeline.errors import ConfigError
from pipeline.geometry.obb import aabb_to_obb, canonical_obb, corners_to_obb, obb_to_aabb
from pipeline.georeference.vector_files import GEOJSON_TYPES
from pipeline.names import quoted, told
from pipeline.types import FloatArray

FARTHEST_PX = 1e9
"""From the corner of an image to anything in it."""
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What comes of JSON that is something else, or holds something else than it should."""
IGNORED_CATEGORY = "dont_care"
"""HIT-UAV's category for regions where no class may be judged."""


def is_coco(path: Path) -> bool:
    """Whether a file is to be read as COCO: JSON that is no GeoJSON, whatever is wrong with it and whatever it is
    called; of what cannot be parsed what is called so. A file that is not here is for others to say or to fetch."""
    called_so = path.suffix.lower() == ".json"
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
            if not head.startswith((b"{", b"[")):
                return called_so
            file.seek(0)
            content = json.loads(file.read().decode("utf-8-sig"))
    except OSError:
        return False
    except (ValueError, RecursionError):
        return called_so
    return not (isinstance(content, dict) and content.get("type") in GEOJSON_TYPES)


def read_annotations(path: Path) -> AnnotatedScenes:
    """Oriented truth of a COCO json file: corners where ``segmentation`` holds four, else ``rbox``, else ``bbox``.

    ``iscrowd`` or ``ignore`` marks ignore regions; those of category ``dont_care`` concern every class. Images without
    annotations are kept. Left out and counted in ``notes``: boxes without area, and boxes outside their image (where
    the file says how large it is); a horizontal box that passes the edge is clipped to it. Annotation ids are not
    used, so they may repeat. Raises ConfigError when the file is no COCO json, when two images or categories share an
    id or a name, when an annotation is of an image or category that is not listed, and for coordinates that are not
    finite.
    """
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        categories = sorted(document["categories"], key=lambda category: int(category["id"]))
        images = {image["id"]: _Image.of(image) for image in document["images"]}
        rows: dict[Any, list[dict[str, Any]]] = {key: [] for key in images}
        _check_unique(path, "category", categories, "name")
        _check_unique(path, "image", document["images"], "file_name")
        known = {category["id"] for category in categories}
        for annotation in document["annotations"]:
            _check_listed(path, annotation, rows, known)
            rows[annotation["image_id"]].append(annotation)
        kept = [category for category in categories if category["name"] != IGNORED_CATEGORY]
        class_of = {category["id"]: i for i, category in enumerate(kept)}
        scenes = {image.name: _scene(rows[key], class_of, image) for key, image in images.items()}
    except ConfigError:
        raise
    except _DAMAGE as error:
        raise ConfigError(
            f"{path} cannot be read as COCO annotations ({told(error)}); give a COCO json file"
        ) from error
    return AnnotatedScenes(
        classes=tuple(str(category["name"]) for category in kept),
        scenes={name: scene for name, (scene, _, _) in scenes.items()},
        notes=(
            *left_out(sum(flat for _, flat, _ in scenes.values()), FLAT),
            *left_out(sum(outside for _, _, outside in scenes.values()), OUTSIDE),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Image:
    """What the file says of an image; its size where it says one."""

    name: str
    bounds: FloatArray | None
    """x, y, x1, y1"""

    @classmethod
    def of(cls, row: dict[str, Any]) -> _Image:
        size = (row.get("width"), row.get("height"))
        bounds = None if None in size else np.array([0.0, 0.0, *size], np.float64)
        return cls(str(row["file_name"]), bounds)


def _check_unique(path: Path, what: str, rows: list[dict[str, Any]], name: str) -> None:
    for key in ("id", name):
        values = [row[key] for row in rows]
        twice = (
            next((value for value in values if values.count(value) > 1), None) if len(set(values)) < len(rows) else None
        )
        if twice is not None:
            raise ConfigError(f"{path}: more than one {what} has the {key} {quoted(twice)}; give each its own")


def _check_listed(path: Path, annotation: dict[str, Any], images: Container[Any], categories: Container[Any]) -> None:
    for key, listed in (("image_id", images), ("category_id", categories)):
        if annotation[key] not in listed:
            raise ConfigError(
                f"{path}: annotation {quoted(annotation.get('id'))} has the {key} {quoted(annotation[key])}, "
                "which is not listed"
            )
    numbers = [annotation.get("bbox", []), annotation.get("rbox", []), *_rings(annotation)]
    if not all(abs(float(number)) <= FARTHEST_PX for values in numbers for number in values):
        raise ConfigError(
            f"{path}: annotation {quoted(annotation.get('id'))} has a coordinate that is not finite, or in no image"
        )


def _rings(annotation: dict[str, Any]) -> list[list[float]]:
    """The polygons of a segmentation; none when it is run-length encoded."""
    rings = annotation.get("segmentation")
    return rings if isinstance(rings, list) else []


def _scene(rows: list[dict[str, Any]], class_of: dict[Any, int], image: _Image) -> tuple[Annotations, int, int]:
    """The truth of one image, and how many boxes were left out of it: without area, outside."""
    boxes = np.concatenate([np.zeros((0, 5)), *(box_of(row) for row in rows)])
    sized = boxes[:, 3] > 0
    inside = np.ones(len(boxes), np.bool_)
    if image.bounds is not None:
        bounds = obb_to_aabb(boxes)
        inside = np.all((bounds[:, :2] < image.bounds[2:]) & (bounds[:, 2:] > 0), axis=1)
        across = inside & (boxes[:, 4] % (np.pi / 2) == 0)
        clipped = np.clip(bounds, np.tile(image.bounds[:2], 2), np.tile(image.bounds[2:], 2))
        changed = across & (clipped != bounds).any(axis=1)
        boxes[changed] = aabb_to_obb(clipped[changed])
    class_ids = np.array([class_of.get(row["category_id"], EVERY_CLASS) for row in rows], np.int64)
    ignore = np.array([is_ignored(row) or row["category_id"] not in class_of for row in rows], np.bool_)
    keep = sized & inside
    truth = Annotations(boxes[keep], class_ids[keep], ignore[keep])
    return truth, int((~sized).sum()), int((sized & ~inside).sum())


def is_ignored(row: Mapping[str, Any]) -> bool:
    """Whether an annotation marks a region where a detection is neither right nor wrong."""
    return bool(row.get("iscrowd") or row.get("ignore"))


def box_of(row: Mapping[str, Any]) -> FloatArray:
    """(1, 5) the oriented box of one annotation: of its four corners, else of ``rbox``, else of ``bbox``."""
    rings = row.get("segmentation")
    if isinstance(rings, list) and rings and len(rings[0]) == 8:
        return corners_to_obb(np.array(rings[0], np.float64).reshape(1, 4, 2))
    if "rbox" in row:
        cx, cy, width, height, angle_rad = row["rbox"]
        return canonical_obb(np.array([[cx, cy, max(width, 0), max(height, 0), angle_rad]], np.float64))
    x, y, width, height = row["bbox"]
    width, height = max(width, 0), max(height, 0)  # a negative side has no area, like one of zero
    return aabb_to_obb(np.array([[x, y, x + width, y + height]], np.float64))
