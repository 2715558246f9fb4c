"""A reviewed copy of annotations: boxes padded alike in every scene, and regions that nobody annotated left out.

The outline of a ship of 30 m is three pixels wide, and annotators draw it more or less generously: of two scenes with
the same ships one may have boxes 4 pixels wide, the other 9. That alone takes IoU below 0.5. So each scene's padding is
measured on its own ships, those that lie free in the water: width of the box less the width at half height of the
brightness across the ship. Every box of the scene is then made larger or smaller by what the scene's median padding
differs from the median of all scenes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from pipeline.annotations.coco import box_of, is_ignored
from pipeline.geometry.obb import aabb_to_obb, canonical_obb, obb_to_aabb, obb_to_corners
from pipeline.training.data.scenes import TrainingScene
from pipeline.types import FloatArray

STEP_PX = 0.25
MARGIN_PX = 5.0
"""Water that is looked at beside a ship, from 1 px outside its box on."""
HALF_LENGTH = 0.3
"""Of the length, to either side of the middle, is averaged: bow and stern are narrower."""
MOST_UNLIKE, ROUGHEST = 0.15, 0.25
"""Of a ship's brightness over the water: how far the waters of its sides may differ and vary."""
FEWEST_SHIPS = 5
"""Free ships that a scene must have for its padding to be known."""
SMALLEST_SIDE_PX = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How generously the boxes of one scene were drawn."""

    free_ships: int
    median_px: float | None
    """Box width less ship width; None where too few ships lie free."""


def padding_of(scene: TrainingScene) -> Padding:
    """Measured on the mean of the scene's bands, in its own pixels: prepare it at the image's resolution."""
    grey = scene.pixels.mean(-1)
    boxes = scene.truth.boxes[~scene.truth.ignore]
    widths = [(box[3], ship_width(grey, box)) for box in boxes]
    found = [box - ship for box, ship in widths if ship is not None]
    known = len(found) >= FEWEST_SHIPS
    return Padding(free_ships=len(found), median_px=round(float(np.median(found)), 2) if known else None)


def ship_width(grey: FloatArray, box: FloatArray) -> float | None:
    """Width at half height of the brightness across a ship, pixels of ``grey`` (H, W); None where it lies not free."""
    along = np.arange(-HALF_LENGTH * box[2], HALF_LENGTH * box[2] + 1e-9, STEP_PX)
    reach = STEP_PX * np.ceil((box[3] / 2 + MARGIN_PX) / STEP_PX)
    across = np.arange(-reach, reach + 1e-9, STEP_PX)
    u, v = np.meshgrid(along, across)
    cos, sin = np.cos(box[4]), np.sin(box[4])
    x, y = box[0] + u * cos - v * sin, box[1] + u * sin + v * cos
    profile = map_coordinates(grey, [y - 0.5, x - 0.5], order=1, mode="nearest").mean(1)
    sides = [profile[(side * across > box[3] / 2 + 1)] for side in (-1, 1)]
    water = [float(np.median(side)) for side in sides]
    inside = np.abs(across) <= box[3] / 2
    height = float(profile[inside].max()) - float(np.mean(water))
    if abs(water[0] - water[1]) > MOST_UNLIKE * height or max(map(np.ptp, sides)) > ROUGHEST * height or height <= 0:
        return None
    level = float(np.mean(water)) + height / 2
    top = int(np.flatnonzero(inside)[profile[inside].argmax()])
    return _falls(profile[top:], level) + _falls(profile[top::-1], level)


def _falls(profile: FloatArray, level: float) -> float:
    """Pixels from the start of a profile until it falls to ``level``."""
    for number, (high, low) in enumerate(pairwise(profile)):
        if low <= level:
            return float(STEP_PX * (number + (high - level) / (high - low)))
    return float(STEP_PX * (len(profile) - 1))


def changes(paddings: Mapping[str, Padding]) -> dict[str, float]:
    """Pixels by which the sides of each scene's boxes grow, so that all are padded alike; 0 where it is not known."""
    known = {name: one.median_px for name, one in paddings.items() if one.median_px is not None}
    target = float(np.median(list(known.values()))) if known else 0.0
    return {name: round(target - known[name], 2) if name in known else 0.0 for name in paddings}


def padded(boxes: FloatArray, change_px: float) -> FloatArray:
    """(N, 5) boxes with both sides longer by ``change_px``, but none below SMALLEST_SIDE_PX for it."""
    out = boxes.copy()
    least = np.minimum(boxes[:, 2:4], SMALLEST_SIDE_PX)
    out[:, 2:4] = np.maximum(boxes[:, 2:4] + change_px, least)
    return out


def reviewed(
    document: Mapping[str, Any], change_px: Mapping[str, float], regions: Mapping[str, Sequence[Sequence[Any]]]
) -> dict[str, Any]:
    """A COCO document with every object's box padded as ``change_px`` says of its image (by stem), and with the
    ``regions`` (stem → x0, y0, x1, y1, and what it is) as annotations to be ignored. What is ignored already stays.
    """
    stem = {image["id"]: Path(image["file_name"]).stem for image in document["images"]}
    kept = [
        one if is_ignored(one) else _padded(one, change_px.get(stem[one["image_id"]], 0.0))
        for one in document["annotations"]
    ]
    first = 1 + max((int(one["id"]) for one in kept if "id" in one), default=0)
    category = min(int(one["id"]) for one in document["categories"])
    places = [(key, place) for key, name in stem.items() for place in regions.get(name, ())]
    ignored = [_region(first + number, key, category, place) for number, (key, place) in enumerate(places)]
    return {**document, "annotations": [*kept, *ignored]}


def _padded(annotation: Mapping[str, Any], change_px: float) -> dict[str, Any]:
    if change_px == 0:
        return dict(annotation)
    box = canonical_obb(padded(box_of(annotation), change_px))
    return {**annotation, **_geometry(box)}


def _region(number: int, image: Any, category: int, place: Sequence[Any]) -> dict[str, Any]:
    box = aabb_to_obb(np.array([place[:4]], np.float64))
    row = {"id": number, "image_id": image, "category_id": category, "iscrowd": 1, "ignore": 1, "what": place[4]}
    return {**row, **_geometry(box)}


def _geometry(box: FloatArray) -> dict[str, Any]:
    """What COCO says of a (1, 5) box, to a hundredth of a pixel."""
    x0, y0, x1, y1 = (round(float(edge), 2) for edge in obb_to_aabb(box)[0])
    return {
        "segmentation": [[round(float(number), 2) for number in obb_to_corners(box)[0].ravel()]],
        "rbox": [round(float(number), 4) for number in box[0]],
        "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
        "area": round(float(box[0, 2] * box[0, 3]), 2),
    }
