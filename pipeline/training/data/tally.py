"""What was prepared, in numbers: objects by class and size, and what was dropped for what reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pipeline.geometry.obb import obb_to_aabb
from pipeline.training.data.scenes import TrainingScene
from pipeline.types import FloatArray, IntArray

SIZES_PX = (0.0, 2.0, 8.0, 16.0, 32.0, np.inf)
"""Limits of the sizes that objects are counted by: roots of their areas in prepared pixels, the upper one excluded."""
FLAT, OUTSIDE, HOLE = "have no area", "lie outside their image", "have their centre where the image shows nothing"


def kept(scene: TrainingScene) -> tuple[TrainingScene, Counter[str]]:
    """``scene`` without boxes that cannot be learnt from, and how many objects were dropped, by reason.

    Dropped are boxes without area or wholly outside, and objects whose centre is in a hole (ruling 16: detection drops
    what it finds there). Ignore regions may have their centre anywhere.
    """
    truth = scene.truth
    height, width = scene.pixels.shape[:2]
    bounds = obb_to_aabb(truth.boxes)
    flat = ~(truth.boxes[:, 3] > 0)
    outside = ~flat & ~((bounds[:, :2] < (width, height)) & (bounds[:, 2:] > 0)).all(axis=1)
    x, y = (np.floor(truth.boxes[:, at]).astype(np.int64) for at in (0, 1))
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    hole = np.zeros(len(truth), np.bool_)
    hole[inside] = (scene.pixels[y[inside], x[inside]] == 0).all(axis=-1)
    hole &= ~flat & ~outside & ~truth.ignore
    reasons = {FLAT: flat, OUTSIDE: outside, HOLE: hole}
    dropped = Counter({why: int((rows & ~truth.ignore).sum()) for why, rows in reasons.items()})
    return replace(scene, truth=truth[~(flat | outside | hole)]), +dropped


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """What one prepared scene shows, without its pixels."""

    name: str
    width: int
    height: int
    boxes: FloatArray
    """(N, 5) objects, ignore regions not among them."""
    class_ids: IntArray
    regions: int
    """Ignore regions."""

    @classmethod
    def of(cls, scene: TrainingScene) -> Shown:
        truth, objects = scene.truth, ~scene.truth.ignore
        height, width = scene.pixels.shape[:2]
        return cls(
            name=scene.name, width=width, height=height, boxes=truth.boxes[objects],
            class_ids=truth.class_ids[objects], regions=int(truth.ignore.sum()),
        )  # fmt: skip


def sizes_of(boxes: FloatArray) -> FloatArray:
    """(N,) roots of the areas of (N, 5) boxes."""
    return np.asarray(np.sqrt(boxes[:, 2] * boxes[:, 3]))


def table(shown: Sequence[Shown], classes: Sequence[str]) -> list[str]:
    """Objects by class and size, a line a class; scenes, pixels, scenes without an object, ignore regions."""
    names = [_range(low, high) for low, high in pairwise(SIZES_PX)]
    every = np.concatenate([np.zeros((0, 5)), *(one.boxes for one in shown)])
    class_ids = np.concatenate([np.zeros(0), *(one.class_ids for one in shown)])
    counts = {name: np.histogram(sizes_of(every[class_ids == at]), SIZES_PX)[0] for at, name in enumerate(classes)}
    wide = max(5, *(len(name) for name in classes))
    said = (
        f"{len(shown)} images, {sum(one.width * one.height for one in shown) / 1e6:.1f} Mpx; "
        f"{sum(not len(one.boxes) for one in shown)} of them without an object; {len(every)} objects, "
        f"{sum(one.regions for one in shown)} ignore regions"
    )
    head = "".join(f"{name:>8}" for name in (*names, "all"))
    lines = [said, f"  {'':{wide}} {head}   root of the area, px"]
    rows = {**counts, "all": sum(counts.values(), np.zeros(len(names), np.int64))} if len(classes) > 1 else counts
    return lines + [
        f"  {name:{wide}} " + "".join(f"{count:>8}" for count in (*row, row.sum())) for name, row in rows.items()
    ]


def _range(low: float, high: float) -> str:
    return f"{low:g}+" if high == np.inf else f"< {high:g}" if low == 0 else f"{low:g}-{high:g}"


def dropped_lines(dropped: Counter[str]) -> list[str]:
    """A sentence a reason."""
    return [f"{count} objects {why} and were dropped" for why, count in dropped.items()]
