"""The holes of a scene, as a table and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.outputs.geoparquet import write_parquet
from pipeline.types import Failed

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
    write_parquet(table, path, covering=False)
