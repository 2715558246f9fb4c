"""Detections of a scene as an Arrow table.

The same detections give the same table: nothing in it depends on time, machine, or the order detections arrived in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.outputs.rows import content_ids, counter_clockwise, curve_order, round_bits, round_corners, round_to
from pipeline.outputs.wkb import fixed_width, wkb_polygons
from pipeline.types import STAGES, Calibration, Detections, FloatArray, GroundMeasures, IntArray

Table: TypeAlias = pa.Table
"""An Arrow table, for the annotations of modules that only pass one on."""

ROW_GROUP_ROWS = 50_000
"""Rows per row group: the unit that a spatial filter can skip."""

_BBOX = pa.struct([pa.field(name, pa.float32(), nullable=False) for name in ("xmin", "ymin", "xmax", "ymax")])

DETECTION_SCHEMA = pa.schema(
    [
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("detection_id", pa.string(), nullable=False),
        pa.field("scene_id", pa.string(), nullable=False),
        pa.field("class_id", pa.int32(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("precision", pa.float64()),
        pa.field("length_m", pa.float64()),
        pa.field("width_m", pa.float64()),
        pa.field("area_m2", pa.float64()),
        pa.field("azimuth_deg", pa.float64()),
        pa.field("px_cx", pa.float64(), nullable=False),
        pa.field("px_cy", pa.float64(), nullable=False),
        pa.field("px_w", pa.float64(), nullable=False),
        pa.field("px_h", pa.float64(), nullable=False),
        pa.field("px_angle_rad", pa.float64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("edge", pa.bool_(), nullable=False),
        pa.field("n_merged", pa.int32(), nullable=False),
        pa.field("entropy", pa.float64()),
        pa.field("tile_id", pa.string()),
        pa.field("model_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("acquired", pa.string()),
        pa.field("bbox", _BBOX, nullable=False),
    ]
)
"""Columns of ``detections.parquet``. ``geometry`` is a closed WKB ring of the box's four corners in world
coordinates, counter-clockwise; ``precision`` is the expected share of right boxes among single boxes of that score,
null for a detector without a calibration; lengths are metres on the ground; ``azimuth_deg`` is clockwise from true
north in [0, 180); ``px_*`` are full-resolution scene pixels; metres are null in a pixel scene, ``entropy`` without the
second look, ``tile_id`` when unknown. ``acquired`` is ISO 8601, a day or a time, as exactly as the scene says it; null
when it does not. ``bbox`` is the GeoParquet covering, float32 rounded outward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableIdentity:
    """What every row of one scene's table has in common."""

    scene_id: str
    model_id: str
    run_id: str
    classes: tuple[str, ...]
    """Names that ``class_ids`` index."""
    acquired: str | None = None
    """When the scene was taken, ISO 8601."""


def detections_table(
    *,
    corners_world: FloatArray,
    px_boxes: FloatArray,
    measures: GroundMeasures | None,
    detections: Detections,
    tile_ids: Sequence[str],
    identity: TableIdentity,
    calibration: Calibration | None = None,
) -> pa.Table:
    """One scene's detections in :data:`DETECTION_SCHEMA`, in an order that depends on their content alone.

    ``corners_world`` (N, 4, 2) float64, world x first; ``px_boxes`` (N, 5) boxes in full-resolution scene pixels;
    ``measures`` None for a pixel scene; ``detections`` gives scores, classes, stage, edge, n_merged and entropy;
    ``tile_ids[i]`` names the tile of index i; ``calibration`` says what the scores are worth.
    """
    n = len(detections)
    assert corners_world.shape == (n, 4, 2), "one ring per detection"
    assert px_boxes.shape == (n, 5), "one box per detection"
    px = np.ascontiguousarray(px_boxes.T)
    px = np.vstack([round_to(px[:4], 2.0**-12), round_bits(px[4:], 23)])
    ids = content_ids(px, detections.class_ids, (identity.scene_id, identity.model_id))
    order = curve_order(corners_world[:, 0] + corners_world[:, 2], ids)  # opposite corners: twice the centre
    names = _RowNames.of(identity, tile_ids, min(n, ROW_GROUP_ROWS))
    batches = []
    for start in range(0, n, ROW_GROUP_ROWS):  # one row group at a time stays in the processor's cache
        rows = order[start : start + ROW_GROUP_ROWS]
        corners = counter_clockwise(round_corners(corners_world.take(rows, axis=0), px_boxes.take(rows, axis=0)))
        columns = {
            "geometry": wkb_polygons(corners),
            "detection_id": _hex_strings(ids.take(rows)),
            "bbox": _covering(corners),
            **{f"px_{name}": px[i].take(rows) for i, name in enumerate(("cx", "cy", "w", "h", "angle_rad"))},
            "precision": _expected(calibration, detections.scores.take(rows)),
            **_measure_columns(measures, rows),
            **_row_columns(detections, rows, names),
        }
        arrays = [pa.array(columns[field.name], type=field.type) for field in DETECTION_SCHEMA]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=DETECTION_SCHEMA))
    return pa.Table.from_batches(batches, schema=DETECTION_SCHEMA)


def _hex_strings(values: NDArray[np.uint64]) -> pa.Array:
    """64-bit ids as 16 lower-case hexadecimal digits."""
    raw = np.ascontiguousarray(values.astype(">u8")).view(np.uint8)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(raw), 2), np.uint8)
    text[:, 0], text[:, 1] = digits[raw >> 4], digits[raw & 15]
    return fixed_width(text.reshape(-1), len(values), 16, pa.string())


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowNames:
    """Strings that rows refer to by number, and those that all rows share, repeated for a row group."""

    classes: pa.StringArray
    stages: pa.StringArray
    tiles: pa.StringArray
    shared: Mapping[str, pa.StringArray]

    @classmethod
    def of(cls, identity: TableIdentity, tile_ids: Sequence[str], rows: int) -> _RowNames:
        names = ("scene_id", "model_id", "run_id", "acquired")
        shared = {name: pa.repeat(pa.scalar(getattr(identity, name), pa.string()), rows) for name in names}
        words = [pa.array(list(values), pa.string()) for values in (identity.classes, STAGES, tile_ids)]
        return cls(classes=words[0], stages=words[1], tiles=words[2], shared=shared)


def _row_columns(detections: Detections, rows: IntArray, names: _RowNames) -> dict[str, Any]:
    """The columns that detections and the run's identity give by themselves."""
    classes = detections.class_ids.take(rows)
    return {
        "class_id": classes.astype(np.int32),
        "class_name": _pick(names.classes, classes),
        "score": detections.scores.take(rows),
        "stage": _pick(names.stages, detections.stage.take(rows)),
        "edge": detections.edge.take(rows),
        "n_merged": detections.n_merged.take(rows).astype(np.int32),
        "entropy": pa.array(detections.entropy.take(rows), from_pandas=True),
        "tile_id": _pick(names.tiles, detections.tile_index.take(rows)),
        **{name: values.slice(0, len(rows)) for name, values in names.shared.items()},
    }


def _pick(names: pa.StringArray, index: IntArray) -> pa.Array:
    """``names[index]``; null where the index is negative."""
    return names.take(pa.array(index, mask=index < 0))


def _expected(calibration: Calibration | None, scores: FloatArray) -> pa.Array:
    return pa.nulls(len(scores), pa.float64()) if calibration is None else pa.array(calibration.expected(scores))


def _measure_columns(measures: GroundMeasures | None, rows: IntArray) -> dict[str, Any]:
    names = ("length_m", "width_m", "area_m2", "azimuth_deg")
    if measures is None:
        return dict.fromkeys(names, pa.nulls(len(rows), pa.float64()))
    # 17 bits are 4e-6 of the value, far below what a pixel can tell, and a third of the bytes.
    rounded = {name: round_bits(np.asarray(getattr(measures, name)).take(rows), 17) for name in names}
    return {name: pa.array(values, from_pandas=True) for name, values in rounded.items()}  # NaN becomes null


def _covering(corners: FloatArray) -> pa.StructArray:
    low = np.minimum(np.minimum(corners[:, 0], corners[:, 1]), np.minimum(corners[:, 2], corners[:, 3]))
    high = np.maximum(np.maximum(corners[:, 0], corners[:, 1]), np.maximum(corners[:, 2], corners[:, 3]))
    return covering(low, high)


def covering(low: FloatArray, high: FloatArray) -> pa.StructArray:
    """Bounding boxes from their lower and upper corners (N, 2), in float32, each side rounded away from the box: no
    filter can miss one."""
    low32, high32 = low.astype(np.float32), high.astype(np.float32)
    low32 = np.where(low32 > low, np.nextafter(low32, np.float32(-np.inf)), low32)
    high32 = np.where(high32 < high, np.nextafter(high32, np.float32(np.inf)), high32)
    sides = [low32[:, 0], low32[:, 1], high32[:, 0], high32[:, 1]]
    return pa.StructArray.from_arrays([pa.array(side) for side in sides], fields=list(_BBOX))
