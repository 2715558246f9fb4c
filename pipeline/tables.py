"""Detections and failures as Arrow tables, and those tables as Parquet files. pyarrow's only home.

The file is GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0/): polygons as WKB in the scene's own CRS, a
``bbox`` covering so that readers can skip row groups, rows along a Hilbert curve so that skipping pays, zstd.
The same table gives the same bytes: nothing in it depends on time, machine, or the order detections arrived in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.types import STAGES, Detections, Failed, FloatArray, IntArray

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
        pa.field("bbox", _BBOX, nullable=False),
    ]
)
"""Columns of ``detections.parquet``. ``geometry`` is a closed WKB ring of the box's four corners in world
coordinates, counter-clockwise; lengths are metres on the ground; ``azimuth_deg`` is clockwise from true north in
[0, 180); ``px_*`` are full-resolution scene pixels; metres are null in a pixel scene, ``entropy`` without the
second look, ``tile_id`` when unknown. ``bbox`` is the GeoParquet covering, float32 rounded outward."""

FAILURE_SCHEMA = pa.schema(
    [
        pa.field("scene_id", pa.string(), nullable=False),
        pa.field("tile_id", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("px_x0", pa.int64()),
        pa.field("px_y0", pa.int64()),
        pa.field("px_x1", pa.int64()),
        pa.field("px_y1", pa.int64()),
    ]
)
"""Columns of ``failures.parquet``. ``px_*`` bound the tile's core in scene pixels, half-open, when known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableIdentity:
    """What every row of one scene's table has in common."""

    scene_id: str
    model_id: str
    run_id: str
    classes: tuple[str, ...]
    """Names that ``class_ids`` index."""


class GroundMeasures(Protocol):
    """Sizes of N boxes on the ground, as ``georeference`` measures them: (N,) float64 each."""

    @property
    def length_m(self) -> FloatArray: ...
    @property
    def width_m(self) -> FloatArray: ...
    @property
    def area_m2(self) -> FloatArray: ...
    @property
    def azimuth_deg(self) -> FloatArray: ...


def detections_table(
    *,
    corners_world: FloatArray,
    px_boxes: FloatArray,
    measures: GroundMeasures | None,
    detections: Detections,
    tile_ids: Sequence[str],
    identity: TableIdentity,
) -> pa.Table:
    """One scene's detections in :data:`DETECTION_SCHEMA`, in an order that depends on their content alone.

    ``corners_world`` (N, 4, 2) float64, world x first; ``px_boxes`` (N, 5) boxes in full-resolution scene pixels;
    ``measures`` None for a pixel scene; ``detections`` gives scores, classes, stage, edge, n_merged and entropy;
    ``tile_ids[i]`` names the tile of index i.
    """
    n = len(detections)
    assert corners_world.shape == (n, 4, 2), "one ring per detection"
    assert px_boxes.shape == (n, 5), "one box per detection"
    px = np.column_stack([_round_to(px_boxes[:, :4], 2.0**-12), _round_bits(px_boxes[:, 4:5], 23)])
    ids = _content_ids(px, detections.class_ids, identity)
    # Opposite corners add up to twice the centre; the id settles the order of boxes in one cell of the curve.
    order = np.lexsort((ids, _hilbert_index(corners_world[:, 0] + corners_world[:, 2])))
    names = _RowNames(identity=identity, tiles=pa.array(list(tile_ids), pa.string()))
    batches = []
    for start in range(0, n, ROW_GROUP_ROWS):  # one row group at a time stays in the processor's cache
        rows = order[start : start + ROW_GROUP_ROWS]
        corners = _counter_clockwise(_round_corners(corners_world[rows], px_boxes[rows]))
        columns = {
            "geometry": _wkb_polygons(corners),
            "detection_id": _hex_strings(ids[rows]),
            "bbox": _covering(corners),
            **{f"px_{name}": px[rows, i] for i, name in enumerate(("cx", "cy", "w", "h", "angle_rad"))},
            **_measure_columns(measures, rows),
            **_row_columns(detections[rows], names),
        }
        arrays = [pa.array(columns[field.name], type=field.type) for field in DETECTION_SCHEMA]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=DETECTION_SCHEMA))
    return pa.Table.from_batches(batches, schema=DETECTION_SCHEMA)


def write_geoparquet(
    table: pa.Table, path: Path, *, crs_projjson: Mapping[str, Any] | None, metadata: Mapping[str, str]
) -> None:
    """Write a detections table as GeoParquet 1.1; ``metadata`` goes into the file's key-value metadata.

    ``crs_projjson`` None means an unknown CRS (a pixel scene). Raises OSError when the disk does.
    """
    geo = json.dumps(_geo_metadata(table, crs_projjson), sort_keys=True, separators=(",", ":"))
    schema = table.schema.with_metadata({**dict(sorted(metadata.items())), "geo": geo})
    _write(table.cast(schema), path, covering=True)


def failures_table(
    failures: Sequence[Failed], *, scene_id: str, bounds_px: Mapping[str, tuple[int, int, int, int]] | None = None
) -> pa.Table:
    """The holes of a scene, ordered by tile; ``bounds_px`` maps tile_id to (x0, y0, x1, y1) in scene pixels."""
    known = bounds_px or {}
    rows = []
    for failure in sorted(failures, key=lambda failed: failed.tile_id):
        bounds = known.get(failure.tile_id, (None,) * 4)
        rows.append(
            {
                "scene_id": scene_id,
                "tile_id": failure.tile_id,
                "error": failure.error,
                "reason": failure.reason,
                "attempts": failure.attempts,
                **dict(zip(("px_x0", "px_y0", "px_x1", "px_y1"), bounds, strict=True)),
            }
        )
    return pa.Table.from_pylist(rows, schema=FAILURE_SCHEMA)


def write_failures(table: pa.Table, path: Path) -> None:
    """Write a table made by :func:`failures_table` as plain Parquet. Raises OSError when the disk does."""
    _write(table, path, covering=False)


def read_detections(path: Path) -> pa.Table:
    """The table of a file written by :func:`write_geoparquet`; the schema's metadata holds ``geo`` and the rest."""
    return pq.read_table(path)


def polygon_corners(table: pa.Table) -> FloatArray:
    """(N, 4, 2) float64 world corners, counter-clockwise, read back from the ``geometry`` column."""
    parts = [np.zeros((0, 4, 2))]
    for chunk in table.column("geometry").chunks:
        if len(chunk):
            _, offsets, data = chunk.buffers()
            first = np.frombuffer(offsets, np.int32, count=1, offset=4 * chunk.offset)[0]
            raw = np.frombuffer(data, np.uint8, count=len(chunk) * _WKB.itemsize, offset=first)
            parts.append(raw.view(_WKB)["ring"][:, :4])
    return np.concatenate(parts)


# A little-endian WKB polygon of one closed ring of five points: 93 bytes (OGC 06-103r4, 8.2).
_WKB = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("ring", "<f8", (5, 2))])


def _wkb_polygons(corners: FloatArray) -> pa.Array:
    """(N, 4, 2) → N WKB polygons, without a Python loop."""
    records = np.zeros(len(corners), _WKB)
    records["order"], records["type"], records["rings"], records["points"] = 1, 3, 1, 5
    records["ring"][:, :4] = corners
    records["ring"][:, 4] = corners[:, 0]
    return _fixed_width(records.view(np.uint8), len(corners), _WKB.itemsize, pa.binary())


def _fixed_width(data: NDArray[np.uint8], n: int, width: int, kind: pa.DataType) -> pa.Array:
    """N values of ``width`` bytes each, laid end to end in ``data``, as a binary or string array without copying."""
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(kind, n, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _hex_strings(values: NDArray[np.uint64]) -> pa.Array:
    """64-bit ids as 16 lower-case hexadecimal digits."""
    raw = np.ascontiguousarray(values.astype(">u8")).view(np.uint8)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(raw), 2), np.uint8)
    text[:, 0], text[:, 1] = digits[raw >> 4], digits[raw & 15]
    return _fixed_width(text.reshape(-1), len(values), 16, pa.string())


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowNames:
    """Strings that rows refer to by number."""

    identity: TableIdentity
    tiles: pa.StringArray


def _row_columns(rows: Detections, names: _RowNames) -> dict[str, Any]:
    """The columns that detections and the run's identity give by themselves."""
    identity = names.identity
    return {
        "class_id": rows.class_ids.astype(np.int32),
        "class_name": _pick(pa.array(identity.classes, pa.string()), rows.class_ids),
        "score": rows.scores,
        "stage": _pick(pa.array(STAGES, pa.string()), rows.stage),
        "edge": rows.edge,
        "n_merged": rows.n_merged.astype(np.int32),
        "entropy": pa.array(rows.entropy, from_pandas=True),
        "tile_id": _pick(names.tiles, rows.tile_index),
        "scene_id": _repeat(identity.scene_id, len(rows)),
        "model_id": _repeat(identity.model_id, len(rows)),
        "run_id": _repeat(identity.run_id, len(rows)),
    }


def _repeat(value: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), n)


def _pick(names: pa.StringArray, index: IntArray) -> pa.Array:
    """``names[index]``; null where the index is negative."""
    return names.take(pa.array(index, mask=index < 0))


def _measure_columns(measures: GroundMeasures | None, rows: IntArray) -> dict[str, Any]:
    names = ("length_m", "width_m", "area_m2", "azimuth_deg")
    if measures is None:
        return dict.fromkeys(names, pa.nulls(len(rows), pa.float64()))
    # 17 bits are 4e-6 of the value, far below what a pixel can tell, and a third of the bytes.
    rounded = {name: _round_bits(np.asarray(getattr(measures, name))[rows], 17) for name in names}
    return {name: pa.array(values, from_pandas=True) for name, values in rounded.items()}  # NaN becomes null


def _round_bits(values: FloatArray, bits: int) -> FloatArray:
    """Float64 rounded to ``bits`` of mantissa: relative error <= 2**-(bits + 1), and trailing zeros that compress."""
    mantissa, exponent = np.frexp(values)
    rounded: FloatArray = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded


def _round_to(values: FloatArray, step: float) -> FloatArray:
    """Float64 rounded to multiples of ``step``, a power of two."""
    rounded: FloatArray = np.rint(values * (1 / step)) * step
    return rounded


def _round_corners(corners: FloatArray, px_boxes: FloatArray) -> FloatArray:
    """World corners to within 2**-14 of a pixel: digits below that are noise, and make half the file.

    Each row's step follows from its own size in world units and in pixels, so no row depends on another.
    """
    across, down = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    area_world = np.abs(across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]) / 2
    area_px = np.maximum(px_boxes[:, 2] * px_boxes[:, 3], 1e-12)
    _, exponent = np.frexp(np.sqrt(area_world / area_px))
    step = np.ldexp(1.0, np.maximum(exponent - 14, -1000))[:, None, None]
    rounded: FloatArray = np.rint(corners * (1 / step)) * step
    return rounded


def _counter_clockwise(corners: FloatArray) -> FloatArray:
    """Rings with positive area in a frame whose y points up; the first corner stays first."""
    diagonals = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    clockwise = diagonals[0][:, 0] * diagonals[1][:, 1] < diagonals[0][:, 1] * diagonals[1][:, 0]
    turned = corners.copy()
    turned[clockwise] = corners[clockwise][:, [0, 3, 2, 1]]
    return turned


def _covering(corners: FloatArray) -> pa.StructArray:
    """Bounding boxes in float32, each side rounded away from the box, so that no filter can miss one."""
    low = np.minimum(np.minimum(corners[:, 0], corners[:, 1]), np.minimum(corners[:, 2], corners[:, 3]))
    high = np.maximum(np.maximum(corners[:, 0], corners[:, 1]), np.maximum(corners[:, 2], corners[:, 3]))
    low32, high32 = low.astype(np.float32), high.astype(np.float32)
    low32 = np.where(low32 > low, np.nextafter(low32, np.float32(-np.inf)), low32)
    high32 = np.where(high32 < high, np.nextafter(high32, np.float32(np.inf)), high32)
    sides = [low32[:, 0], low32[:, 1], high32[:, 0], high32[:, 1]]
    return pa.StructArray.from_arrays([pa.array(side) for side in sides], fields=list(_BBOX))


def _hilbert_index(points: FloatArray, order: int = 16) -> IntArray:
    """Position of (N, 2) points along the Hilbert curve of 2**order cells a side over their own extent.

    The classic bit-by-bit walk (Hilbert 1891; Lam & Shapiro 1994), all points at once.
    """
    if not len(points):
        return np.zeros(0, np.int64)
    low = points.min(axis=0)
    extent = max(float((points.max(axis=0) - low).max()), np.finfo(np.float64).tiny)
    cells = np.minimum((points - low) / extent * (1 << order), (1 << order) - 1).astype(np.uint32)
    x, y = cells[:, 0].copy(), cells[:, 1].copy()
    index = np.zeros(len(points), np.uint32)
    for bit in range(order - 1, -1, -1):
        right, upper = (x >> bit) & 1, (y >> bit) & 1
        index = (index << 2) | ((3 * right) ^ upper)
        # In the two lower quadrants the curve is transposed, in the right one also mirrored.
        mirror = np.where((upper == 0) & (right == 1), np.uint32((1 << bit) - 1), np.uint32(0))
        x, y = x ^ mirror, y ^ mirror
        swap = upper == 0
        x, y = np.where(swap, y, x), np.where(swap, x, y)
    return index.astype(np.int64)


def _content_ids(px: FloatArray, class_ids: IntArray, identity: TableIdentity) -> NDArray[np.uint64]:
    """A 64-bit hash of scene, model, class and box per row; equal rows are told apart by counting them.

    The seed is SHA-256; rows are mixed in with the finaliser of SplitMix64 (Steele, Lea & Flood 2014), which turns
    a million rows into ids in a fraction of a second. Expected collisions among a million: 3e-8; those too
    are resolved, so ids are unique in a table.
    """
    seed = hashlib.sha256(json.dumps([identity.scene_id, identity.model_id]).encode()).digest()
    ids = np.full(len(px), int.from_bytes(seed[:8], "big"), np.uint64)
    for column in (class_ids.astype(np.uint64), *np.ascontiguousarray((px + 0.0).T).view(np.uint64)):
        ids = _mix(ids ^ column)
    while len(unique := np.unique(ids, return_index=True)[1]) < len(ids):
        repeated = np.ones(len(ids), np.bool_)
        repeated[unique] = False
        ids[repeated] = _mix(ids[repeated])
    return ids


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _geo_metadata(table: pa.Table, crs_projjson: Mapping[str, Any] | None) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": crs_projjson,
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if len(table):
        corners = polygon_corners(table)
        column["bbox"] = [*corners.min(axis=(0, 1)).tolist(), *corners.max(axis=(0, 1)).tolist()]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _write(table: pa.Table, path: Path, *, covering: bool) -> None:
    flat = ["bbox.xmin", "bbox.ymin", "bbox.xmax", "bbox.ymax"] if covering else []
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)] + flat
    words = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "detection_id"]
    options = {
        "compression": "zstd",
        "compression_level": 3,
        # Bytes of equal weight side by side: rounded floats then compress to what they really say.
        "use_byte_stream_split": floats,
        "use_dictionary": words,
        "write_page_index": False,
    }
    # No row group for no rows: one empty row group is invalid GeoParquet (ruling 14).
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        if len(table):
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
