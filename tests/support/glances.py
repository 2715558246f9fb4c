"""What a global look said of a tile, made up: for the tests of the second look."""

from __future__ import annotations

import numpy as np

from pipeline.second_look.windows import Glance
from pipeline.types import AttentionMap, Detections, DifferenceMap, FloatArray, Frame, Window

TILE = Window(x=100, y=50, width=256, height=256)
SCALES = (0.25, 0.5)


def found(boxes: list[list[float]], scores: list[float], **columns: object) -> Detections:
    n = len(boxes)
    return Detections(np.array(boxes, np.float64).reshape(n, 5), np.array(scores), np.zeros(n, np.int64),
                      Frame.LATTICE, **columns)  # type: ignore[arg-type]  # fmt: skip


def glance(
    mass: FloatArray | None = None, detections: Detections | None = None, tile: Window = TILE, factor: float = 2.0,
    difference: FloatArray | None = None,
) -> Glance:  # fmt: skip
    return Glance(
        tile=tile,
        factor=factor,
        attention=None if mass is None else AttentionMap(mass / max(mass.sum(), 1e-12)),
        detections=detections or Detections.empty(Frame.LATTICE),
        difference=None if difference is None else DifferenceMap(difference),
    )


def blob(rows: int = 16, columns: int = 16, y: int = 3, x: int = 12) -> FloatArray:
    mass = np.full((rows, columns), 0.01)
    mass[y, x] = 5.0
    return mass
