"""GeoParquet as it is read: geometry as WKB, other columns as values, and the CRS that its metadata names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipeline.errors import ConfigError
from pipeline.georeference.crs import WGS84_LONLAT
from pipeline.georeference.vector_files import Layer
from pipeline.names import quoted

MAGIC = b"PAR1"
"""First bytes of a Parquet file."""


def read_geoparquet(path: Path, called: str) -> Layer:
    """The primary geometry of a GeoParquet file with its plain columns; nested ones (a bbox covering) are not read.

    Without a CRS in its metadata it is in longitude and latitude, and ``null`` is none, as GeoParquet 1.1 has it.
    ``called`` begins the sentences of errors. Raises ConfigError for a damaged file, a Parquet file without geometry,
    and a geometry that is not WKB.
    """
    try:
        file = parquet.ParquetFile(path)
        meta = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"null"))
        if meta is None:
            raise ConfigError(f"{called} is a Parquet file without geometry: write it as GeoParquet")
        name = meta["primary_column"]
        said = meta["columns"][name]
        if str(said["encoding"]).upper() != "WKB":
            raise ConfigError(f"{called} has its geometry as {quoted(said['encoding'])}: write it as WKB")
        plain = [one.name for one in file.schema_arrow if one.name != name and not pa.types.is_nested(one.type)]
        table = file.read([name, *plain])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ConfigError(f"{called} is damaged, or no GeoParquet: write it again") from error
    crs = said.get("crs", WGS84_LONLAT)
    return Layer(
        geometry=_values(table.column(name)),
        columns={one: _values(table.column(one)) for one in plain},
        crs=json.dumps(crs) if isinstance(crs, dict) else crs,
    )


def _values(column: Any) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    out = np.empty(len(column), object)
    out[:] = column.to_pylist()
    return out
