"""Tables as Parquet files, detections as GeoParquet.

The file is GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0/): polygons as WKB in the scene's own CRS, a
``bbox`` covering so that readers can skip row groups, rows along a Hilbert curve so that skipping pays, zstd. The same
table gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.outputs.result import Result
from pipeline.outputs.tables import ROW_GROUP_ROWS
from pipeline.outputs.wkb import polygon_corners


def write(result: Result, folder: Path) -> None:
    """``detections.parquet``. Raises OSError when the disk does."""
    place = result.georeference
    projjson = None if place is None else place.crs_projjson()
    write_geoparquet(result.table, folder / "detections.parquet", crs_projjson=projjson, metadata=result.metadata)


def write_geoparquet(
    table: pa.Table, path: Path, *, crs_projjson: Mapping[str, Any] | None, metadata: Mapping[str, str]
) -> None:
    """Write a detections table as GeoParquet 1.1; ``metadata`` goes into the file's key-value metadata.

    ``crs_projjson`` None means an unknown CRS (a pixel scene). Raises OSError when the disk does.
    """
    geo = json.dumps(_geo_metadata(table, crs_projjson), sort_keys=True, separators=(",", ":"))
    schema = table.schema.with_metadata({**dict(sorted(metadata.items())), "geo": geo})
    write_parquet(table.cast(schema), path, covering=True)


def read_detections(path: Path) -> pa.Table:
    """The table of a file written by :func:`write_geoparquet`; the schema's metadata holds ``geo`` and the rest."""
    return pq.read_table(path)


def _geo_metadata(table: pa.Table, crs_projjson: Mapping[str, Any] | None) -> dict[str, Any]:
    corners = polygon_corners(table)
    bounds = [*corners.min(axis=(0, 1)).tolist(), *corners.max(axis=(0, 1)).tolist()] if len(table) else None
    return geo_metadata(crs_projjson, bounds)


def geo_metadata(
    crs_projjson: Mapping[str, Any] | None, bounds: Sequence[float] | None, kinds: Sequence[str] = ("Polygon",)
) -> dict[str, Any]:
    """The ``geo`` entry of a GeoParquet file (1.1) of polygons with a covering; ``bounds`` None for no rows."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": list(kinds),
        "crs": crs_projjson,
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if bounds is not None:
        column["bbox"] = list(bounds)
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def write_parquet(table: pa.Table, path: Path, *, covering: bool) -> None:
    """Write a table as Parquet, the same bytes for the same table; ``covering``: it has a ``bbox`` column."""
    # No row group for no rows: one empty row group is invalid GeoParquet (ruling 14).
    with pq.ParquetWriter(path, table.schema, **parquet_options(table.schema, covering=covering)) as writer:
        if len(table):
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


def parquet_options(schema: pa.Schema, *, covering: bool) -> dict[str, Any]:
    """How columns are packed."""
    flat = ["bbox.xmin", "bbox.ymin", "bbox.xmax", "bbox.ymax"] if covering else []
    floats = [field.name for field in schema if pa.types.is_floating(field.type)] + flat
    words = [field.name for field in schema if pa.types.is_string(field.type) and field.name not in UNIQUE]
    return {
        "compression": "zstd",
        # Zstandard's level 3 pays for geometry alone; elsewhere it costs time and saves nothing.
        "compression_level": {"geometry": 3},
        # Bytes of equal weight side by side: rounded floats then compress to what they really say.
        "use_byte_stream_split": floats,
        "use_dictionary": words,
        "write_page_index": False,
    }


UNIQUE = ("detection_id", "object_id")
"""Columns whose words hardly ever repeat."""
