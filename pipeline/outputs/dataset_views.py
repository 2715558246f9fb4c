"""What tells views of one object apart from others, read from rows of the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from pipeline.outputs.tables import Table
from pipeline.outputs.wkb import WKB_BYTES, polygon_corners
from pipeline.types import BoolArray, FloatArray, IntArray

VIEW_COLUMNS = [
    "geometry", "lon", "lat", "detection_id", "scene_id", "class_id", "score", "edge", "px_cx", "px_cy", "px_w", "px_h",
    "px_angle_rad", "object_id", "primary",
]  # fmt: skip
"""What :func:`view_rows` asks for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewRows:
    """N rows as arrays."""

    rings: FloatArray
    """(N, 4, 2) longitude and latitude of the corners; NaN for the ``odd`` ones."""
    odd: dict[int, FloatArray]
    """Row → (K, 2) points of a box that is cut at ±180° or lies around a pole."""
    centres: FloatArray
    """(N, 2) longitude and latitude."""
    scene_ids: NDArray[np.object_]
    ids: NDArray[np.uint64]
    """``detection_id`` as a number."""
    class_ids: IntArray
    scores: FloatArray
    edge: BoolArray
    px_boxes: FloatArray
    """(N, 5) scene pixels."""
    object_ids: NDArray[np.uint64]
    primary: BoolArray


def view_rows(table: Table) -> ViewRows:
    """Rows of the dataset with :data:`VIEW_COLUMNS`, in their order."""
    plain = pc.equal(pc.binary_length(table.column("geometry")), WKB_BYTES).to_numpy()
    rings = np.full((len(table), 4, 2), np.nan)
    rings[plain] = polygon_corners(table.select(["geometry"]).filter(pa.array(plain)))
    cut = np.flatnonzero(~plain)
    shapes = shapely.from_wkb(table.column("geometry").take(pa.array(cut)).to_pylist())

    def numbers(name: str) -> NDArray[Any]:
        values: NDArray[Any] = table.column(name).to_numpy()
        return values

    px = [numbers(f"px_{part}") for part in ("cx", "cy", "w", "h", "angle_rad")]
    return ViewRows(
        rings=rings,
        odd={int(row): shapely.get_coordinates(shape) for row, shape in zip(cut, shapes, strict=True)},
        centres=np.column_stack([numbers("lon"), numbers("lat")]),
        scene_ids=np.array(table.column("scene_id").to_pylist(), object),
        ids=hex_numbers(table.column("detection_id")),
        class_ids=numbers("class_id").astype(np.int64),
        scores=numbers("score"),
        edge=numbers("edge"),
        px_boxes=np.column_stack(px),
        object_ids=hex_numbers(table.column("object_id")),
        primary=numbers("primary"),
    )


def hex_numbers(column: Any) -> NDArray[np.uint64]:
    """Ids of 16 hexadecimal digits as numbers."""
    return np.array([int(text, 16) for text in column.to_pylist()], np.uint64)
