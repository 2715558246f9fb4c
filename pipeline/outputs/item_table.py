"""STAC items out of a stac-geoparquet table, as the JSON they were: the reader; the writer is ours too.

Format: stac-geoparquet 1.0 and 1.1 (github.com/stac-utils/stac-geoparquet): one row an item, its properties at the
top level, times as timestamps, ``bbox`` as a struct, ``assets`` as a struct with the keys of all items.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TOP = ("id", "type", "stac_version", "stac_extensions", "collection", "links", "assets", "bbox")
"""Columns that stand beside the properties in an item. The geometry is left in the table."""
AT_ONCE = 1000
"""Rows held at a time."""


def read_items(path: Path) -> Iterator[dict[str, Any]]:
    """The items of a local file, without their geometry. Raises ValueError for what is no such table, OSError."""
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name != "geometry"]
            if not {"id", "assets"} <= set(columns):
                raise ValueError("it has no columns id and assets")
            for batch in file.iter_batches(AT_ONCE, columns=columns):
                yield from map(item_of_row, batch.to_pylist())
    except pa.ArrowException as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else "it is damaged") from error


def item_of_row(row: dict[str, Any]) -> dict[str, Any]:
    """One row as an item: nothing stands for what is missing, times are text."""
    told = {key: _plain(value) for key, value in row.items() if value is not None}
    item = {"type": "Feature", **{key: told[key] for key in TOP if key in told}}
    for key in ("assets", "links"):
        if isinstance(item.get(key), str):  # as some writers have what differs from row to row
            item[key] = json.loads(item[key])
    box = item.get("bbox")
    if isinstance(box, dict):
        names = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")
        item["bbox"] = [box[name] for name in names if name in box]
    return {**item, "properties": {key: value for key, value in told.items() if key not in TOP}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    return value
