"""One finished block ↔ one small Parquet file: what became of each of its tiles, and everything found on them.

A row per tile, those with nothing on them too; detections are a list in the row, exact to the bit, from the lowest
score that was asked for. What concerns the block as a whole (costs, notes, crops) stands in the file's metadata.
Part of pyarrow's home.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.outputs.parquet_bytes import read_parquet_bytes
from pipeline.types import (
    AttentionMap,
    BlockOutcome,
    Cost,
    Crop,
    Detections,
    DifferenceMap,
    Done,
    Failed,
    FloatArray,
    Frame,
    Window,
)
from pipeline.types.detections import COLUMNS

_SINGULAR = {"scores": "score", "class_ids": "class_id"}
"""Columns of Detections that a single stored detection calls otherwise."""
_COLUMNS = {
    _SINGULAR.get(name, name): (name, pa.from_numpy_dtype(getattr(Detections.empty(Frame.LATTICE), name).dtype))
    for name in COLUMNS
    if name != "boxes"
}
"""Field of a stored detection → column of Detections, and its type. A part without one of them counts as damaged."""
_BOX = ("cx", "cy", "w", "h", "angle_rad")
_DETECTION = pa.struct(
    [pa.field(name, pa.float64()) for name in _BOX] + [pa.field(name, kind) for name, (_, kind) in _COLUMNS.items()]
)
_GRID = [pa.field(name, pa.int64()) for name in ("x", "y", "width", "height", "columns")]
_CELLS = pa.list_(pa.float64())
_ATTENTION = pa.struct([*_GRID, pa.field("outside", pa.float64()), pa.field("mass", _CELLS)])
_DIFFERENCE = pa.struct([*_GRID, pa.field("values", _CELLS)])
PART_SCHEMA = pa.schema(
    [
        pa.field("tile_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("attempts", pa.int64()),
        pa.field("detections", pa.list_(_DETECTION)),
        pa.field("attention", pa.list_(_ATTENTION)),
        pa.field("difference", pa.list_(_DIFFERENCE)),
    ]
)
"""Columns of a part. ``status`` is done or failed; boxes are lattice pixels; maps stand in the first row. Parts from
before there was a difference map lack its column, which reads as none."""

_METADATA = b"kestrel:block"


class DamagedPart(ValueError):
    """The bytes are no part; whoever reads them does the block again."""


def write_part(outcome: BlockOutcome) -> bytes:
    """The file of one block. The same outcome gives the same bytes."""
    done, failed = outcome.done, outcome.failed
    attention = [
        _stored(window, found.mass, mass=found.mass, outside=found.outside) for window, found in outcome.attention
    ]
    difference = [_stored(window, found.values, values=found.values) for window, found in outcome.difference]
    empty = [None] * (len(done) + len(failed) - 1)
    columns = [
        pa.array([*(one.tile_id for one in done), *(one.tile_id for one in failed)], pa.string()),
        pa.array(["done"] * len(done) + ["failed"] * len(failed), pa.string()),
        pa.array([None] * len(done) + [one.error for one in failed], pa.string()),
        pa.array([None] * len(done) + [one.reason for one in failed], pa.string()),
        pa.array([None] * len(done) + [one.attempts for one in failed], pa.int64()),
        _lists([one.detections for one in done], len(failed)),
        pa.array([attention, *empty], pa.list_(_ATTENTION)),
        pa.array([difference, *empty], pa.list_(_DIFFERENCE)),
    ]
    metadata = {_METADATA: json.dumps(_facts(outcome)).encode()}
    table = pa.table(columns, schema=PART_SCHEMA.with_metadata(metadata))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _columns(table: pa.Table) -> pa.Table:
    """Those of PART_SCHEMA; what a part from before there was a column lacks is null."""
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in PART_SCHEMA
    ]
    return pa.table(columns, schema=PART_SCHEMA)


def read_part(data: bytes) -> BlockOutcome:
    """The outcome that :func:`write_part` was given. Raises DamagedPart for anything else."""
    try:
        table = _columns(read_parquet_bytes(data))
        facts = json.loads(pq.read_metadata(io.BytesIO(data)).metadata[_METADATA])
        rows = table.select(["tile_id", "status", "error", "reason", "attempts"]).to_pylist()
        found = _detections(table["detections"].combine_chunks())
        attention, difference = (
            (table[name][0].as_py() if table.num_rows else None) or [] for name in ("attention", "difference")
        )
        crops = [
            Crop(window=Window(x=x, y=y, width=w, height=h), row=row, entropy=math.nan if entropy is None else entropy)
            for x, y, w, h, row, entropy in facts.pop("crops")
        ]
        return BlockOutcome(
            block_id=facts.pop("block_id"),
            done=tuple(
                Done(row["tile_id"], boxes) for row, boxes in zip(rows, found, strict=True) if row["status"] == "done"
            ),
            failed=tuple(
                Failed(row["tile_id"], row["error"], row["reason"], row["attempts"])
                for row in rows
                if row["status"] == "failed"
            ),
            notes=tuple(facts.pop("notes")),
            crops=tuple(crops),
            attention=tuple((_window(one), AttentionMap(_cells(one, "mass"), one["outside"])) for one in attention),
            difference=tuple((_window(one), DifferenceMap(_cells(one, "values"))) for one in difference),
            cost=Cost(**facts),  # what is left of them; a part from before something was counted lacks it
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedPart(str(error)) from error


def _facts(outcome: BlockOutcome) -> dict[str, Any]:
    """Numbers of the whole block, its notes and its crops, ready for JSON."""
    crops = [
        [crop.window.x, crop.window.y, crop.window.width, crop.window.height, crop.row,
         None if math.isnan(crop.entropy) else crop.entropy]
        for crop in outcome.crops
    ]  # fmt: skip
    return {"block_id": outcome.block_id, **asdict(outcome.cost), "notes": list(outcome.notes), "crops": crops}


def _lists(found: list[Detections], empty: int) -> Any:
    """A list column with the detections of each tile, then ``empty`` nulls."""
    every = Detections.concat(found, Frame.LATTICE)
    arrays = [pa.array(every.boxes[:, axis]) for axis in range(len(_BOX))]
    arrays += [pa.array(getattr(every, name), kind) for name, kind in _COLUMNS.values()]
    flat = pa.StructArray.from_arrays(arrays, fields=list(_DETECTION))
    ends = np.concatenate([[0], np.cumsum([len(one) for one in found], dtype=np.int64)])
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)
    return pa.concat_arrays([lists, pa.nulls(empty, lists.type)]) if empty else lists


def _detections(column: Any) -> list[Detections]:
    """The detections of each row; none for null."""
    flat, lengths = column.flatten(), [0 if size is None else size for size in column.value_lengths().to_pylist()]
    named = {one.name: flat.field(place).to_numpy(zero_copy_only=False) for place, one in enumerate(_DETECTION)}
    boxes = np.stack([named[name] for name in _BOX], axis=1)
    columns = {attribute: named[name] for name, (attribute, _) in _COLUMNS.items()}
    every = Detections(boxes=boxes, frame=Frame.LATTICE, **columns)
    ends = np.cumsum(lengths, dtype=np.int64)
    return [every[slice(end - length, end)] for end, length in zip(ends, lengths, strict=True)]


def _stored(window: Window, grid: FloatArray, **content: Any) -> dict[str, Any]:
    """A map over ``window``, its arrays flat."""
    place = {"x": window.x, "y": window.y, "width": window.width, "height": window.height, "columns": grid.shape[1]}
    return place | {name: np.ravel(value) if np.ndim(value) else value for name, value in content.items()}


def _window(stored: dict[str, Any]) -> Window:
    return Window(x=stored["x"], y=stored["y"], width=stored["width"], height=stored["height"])


def _cells(stored: dict[str, Any], name: str) -> FloatArray:
    return np.array(stored[name], np.float64).reshape(-1, stored["columns"])
