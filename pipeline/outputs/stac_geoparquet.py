"""Many STAC items as one Parquet file: stac-geoparquet 1.1.

Properties are columns of their own, times are timestamps, ``bbox`` is a struct, ``links`` a list of structs, ``assets``
a struct with one field an asset, the geometry WKB in OGC:CRS84; the collection stands in the file's metadata. What an
item lacks is null, but for ``deprecated``.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from pipeline.outputs.parquet_bytes import read_parquet_bytes
from pipeline.outputs.tables import Table

VERSION = "1.1.0"
KEY = "stac-geoparquet"
"""Of the file's metadata, whose value holds the collection."""
TIMES = ("datetime", "start_datetime", "end_datetime", "created")
DEPRECATED = "deprecated"
"""Of the version extension. False where an item does not say it, so that ``NOT deprecated`` finds what counts."""
SIDES = ("xmin", "ymin", "xmax", "ymax")
NOWHERE_BBOX, NOWHERE = (math.nan,) * 4, shapely.to_wkb(shapely.Polygon())
"""Of an item without a place. Readers of this format know no null there; no filter finds NaN, and an empty polygon may
be taken for null (RFC 7946, 3.1)."""
_BBOX = pa.struct([pa.field(side, pa.float64()) for side in SIDES])
_TYPES: dict[str, pa.DataType] = {
    "type": pa.string(),
    "stac_version": pa.string(),
    "stac_extensions": pa.list_(pa.string()),
    "id": pa.string(),
    "geometry": pa.binary(),
    "bbox": _BBOX,
    "collection": pa.string(),
    **{name: pa.timestamp("us", tz="UTC") for name in TIMES},
    "kestrel:version": pa.string(),
    DEPRECATED: pa.bool_(),
}
"""Columns that every table has, and whose type does not follow from what they hold."""
ROW_GROUP_ROWS = 10_000


def items_table(items: Sequence[Mapping[str, Any]]) -> Table:
    """One row an item, in the order given."""
    rows = [_row(item) for item in items]
    names = list(dict.fromkeys([*_TYPES, *(name for row in rows for name in row)]))
    arrays = [pa.array([row.get(name) for row in rows], type=_TYPES.get(name)) for name in names]
    return pa.table(dict(zip(names, arrays, strict=True)))


def exchanged(table: Table, others: Sequence[Table], gone: Collection[str]) -> Table:
    """The table with the rows of ``others`` in place of those of the same ids, without the ids ``gone``, sorted by id.

    Columns and the fields inside them are those of all tables.
    """
    out = {one for other in others for one in other["id"].to_pylist()} | set(gone)
    kept = table.filter(pc.invert(pc.is_in(table["id"], value_set=pa.array(sorted(out), pa.string()))))
    return pa.concat_tables([kept, *others], promote_options="permissive").sort_by("id")


def versions_of(table: Table, collection_id: str) -> dict[str, str]:
    """id → the version of the result that its item is of; an item of another collection is of none that there is."""
    columns = (table[name].to_pylist() for name in ("id", "kestrel:version", "collection"))
    rows = zip(*columns, strict=True)
    return {one: version if collection == collection_id else "" for one, version, collection in rows}


def placeless(table: Table) -> int:
    """Items without a place."""
    return int(pc.sum(pc.equal(table["geometry"], pa.scalar(NOWHERE, pa.binary()))).as_py() or 0)


def written(table: Table, collection: Mapping[str, Any]) -> bytes:
    """The file. Columns that are null in every row are left out."""
    empty = [name for name in table.column_names if name not in _TYPES and table[name].null_count == len(table)]
    table = table.drop_columns(empty)
    kinds = sorted({str(one) for one in shapely.get_type_id(_geometries(table)) if one >= 0})
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": [_KINDS[kind] for kind in kinds]}},
    }
    stac = {"version": VERSION, "collections": {collection["id"]: collection}}
    table = table.replace_schema_metadata({"geo": json.dumps(geo), KEY: json.dumps(stac, ensure_ascii=False)})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    return file.getvalue()


_KINDS = {"3": "Polygon", "6": "MultiPolygon"}
"""shapely's numbers of the kinds of geometries that footprints are."""


def read(content: bytes) -> Table | None:
    """The table of a file made by :func:`written`; None for anything else."""
    try:
        table = read_parquet_bytes(content)
    except (pa.ArrowInvalid, OSError):
        return None
    if DEPRECATED not in table.column_names:  # as older versions wrote it
        table = table.append_column(DEPRECATED, pa.array(np.zeros(len(table), bool)))
    return table if set(_TYPES) <= set(table.column_names) else None


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    row = {key: value for key, value in item.items() if key not in ("properties", "geometry", "bbox")}
    geometry, bbox = item.get("geometry"), item.get("bbox")
    row["geometry"] = NOWHERE if geometry is None else shapely.to_wkb(shapely.from_geojson(json.dumps(geometry)))
    row["bbox"] = dict(zip(SIDES, NOWHERE_BBOX if bbox is None else bbox, strict=True))
    row[DEPRECATED] = False
    for name, value in item["properties"].items():
        row[name] = datetime.fromisoformat(value) if name in TIMES and value is not None else value
    return row


def _geometries(table: Table) -> Any:
    return shapely.from_wkb(np.array(table["geometry"].to_pylist(), dtype=object))
