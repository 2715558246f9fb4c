"""Rows of the dataset as one file for somebody else: GeoPackage, FlatGeobuf, GeoJSON, CSV, PMTiles, GeoParquet.

Rows are drawn as they are written: memory is that of a few row groups, whatever their number. Longitude and latitude in
every format.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import shapely

from pipeline.config.environment import hidden
from pipeline.errors import ConfigError, StorageError
from pipeline.outputs.dataset import DATASET_SCHEMA, DatasetWriter
from pipeline.outputs.geojson import property_texts
from pipeline.outputs.geopackage import gdal_options
from pipeline.outputs.tables import Table

Rows = Iterable[Table]
"""Tables in :data:`DATASET_SCHEMA`."""

ZOOMS = (0, 14)
"""Levels of PMTiles: a coordinate of the last is 0.6 m."""
FEW = ("detection_id", "object_id", "scene_id", "class_name", "score", "length_m", "acquired", "model_id")
"""Columns that tiles carry."""


def write_parquet(rows: Rows, path: Path, _layer: str) -> None:
    """GeoParquet 1.1, as the dataset itself."""
    with DatasetWriter(path) as writer:
        for table in rows:
            writer.write(table)


def write_csv(rows: Rows, path: Path, _layer: str) -> None:
    """Comma-separated, with a line of names; the box as WKT in the last column."""
    names = [name for name in DATASET_SCHEMA.names if name not in ("geometry", "bbox")]
    fields = [pa.field(name, _told(DATASET_SCHEMA.field(name).type)) for name in names]
    schema = pa.schema([*fields, pa.field("geometry", pa.string())])
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for table in rows:
            shapes = shapely.from_wkb(table.column("geometry").to_pylist())
            columns = [_plain(table.column(name)) for name in names]
            texts = shapely.to_wkt(shapes, rounding_precision=9)
            writer.write_table(pa.table([*columns, pa.array(texts, pa.string())], schema=schema))


def write_geojson(rows: Rows, path: Path, _layer: str) -> None:
    """RFC 7946, a feature a line."""
    names = [name for name in DATASET_SCHEMA.names if name not in ("geometry", "bbox")]
    feature = '{"type":"Feature","geometry":%s,"properties":{' + ",".join(f'"{name}":%s' for name in names) + "}}"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[\n')
        between = ""
        for table in rows:
            shapes = shapely.from_wkb(table.column("geometry").to_pylist())
            columns = [shapely.to_geojson(shapely.transform(shapes, lambda points: np.round(points, 8))).tolist()]
            columns += [_texts(name, table) for name in names]
            file.write(between + ",\n".join([feature % row for row in zip(*columns, strict=True)]))
            between = ",\n"
        file.write("\n]}\n")


def _texts(name: str, table: Table) -> list[str]:
    if name in ("lon", "lat"):
        return [f"{value:.8f}" for value in table.column(name).to_pylist()]
    return property_texts(name, _plain(table.column(name)).to_pylist())


def _plain(column: Any) -> Any:
    """Times as ISO 8601 texts, other columns as they are."""
    if not pa.types.is_timestamp(column.type):
        return column
    return pc.strftime(column.cast(pa.timestamp("s", "UTC"), safe=False), format="%Y-%m-%dT%H:%M:%SZ")


def _told(kind: Any) -> Any:
    return pa.string() if pa.types.is_timestamp(kind) else kind


def write_gpkg(rows: Rows, path: Path, layer: str) -> None:
    """GeoPackage with one layer."""
    _write_by_gdal(rows, path, layer, "GPKG", _names())


def write_fgb(rows: Rows, path: Path, layer: str) -> None:
    """FlatGeobuf with its index."""
    _write_by_gdal(rows, path, layer, "FlatGeobuf", _names())


def write_pmtiles(rows: Rows, path: Path, layer: str) -> None:
    """Vector tiles in one file, with :data:`FEW` columns."""
    options = {"MINZOOM": ZOOMS[0], "MAXZOOM": ZOOMS[1], "NAME": layer}
    _write_by_gdal(rows, path, layer, "PMTiles", ["geometry", *FEW], options)


FORMATS: dict[str, Callable[[Rows, Path, str], None]] = {
    "gpkg": write_gpkg,
    "fgb": write_fgb,
    "geojson": write_geojson,
    "csv": write_csv,
    "pmtiles": write_pmtiles,
    "parquet": write_parquet,
}
"""Suffix of the file → its writer."""


def _names() -> list[str]:
    return [name for name in DATASET_SCHEMA.names if name != "bbox"]


def _write_by_gdal(
    rows: Rows, path: Path, layer: str, driver: str, names: list[str], options: dict[str, Any] | None = None
) -> None:
    """One layer by GDAL, which draws the rows as a stream.

    Raises ConfigError when this GDAL has no such driver, StorageError when it cannot write; what drawing a row raises
    comes through as it is.
    """
    with hidden():  # it reads the environment while it is imported; late: it brings pandas along
        import pyogrio
    if "w" not in pyogrio.list_drivers().get(driver, "") and driver != "GPKG":
        raise ConfigError(f"this GDAL ({pyogrio.__gdal_version_string__}) cannot write {driver}; choose another --to")
    stream = _Stream(rows, names)
    with gdal_options(pyogrio, {"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that a format calls otherwise
        try:
            pyogrio.write_arrow(
                stream.reader, path, layer=layer, driver=driver, geometry_name="geometry", geometry_type="Unknown",
                crs="OGC:CRS84" if driver != "PMTiles" else "EPSG:4326", dataset_options=options,
            )  # fmt: skip
            count = int(pyogrio.read_info(path, force_feature_count=True)["features"]) if driver != "PMTiles" else None
        except Exception as error:
            if stream.error is not None:
                raise stream.error from error
            raise StorageError(f"GDAL cannot write {path.name}: {error}") from error
    if count is not None and count != stream.rows:
        raise StorageError(f"{path.name} is incomplete: free some space on its disk")


class _Stream:
    """Tables as a stream of batches of some columns; it keeps what went wrong, of which libraries in C say little."""

    def __init__(self, rows: Rows, names: list[str]) -> None:
        self.error: BaseException | None = None
        self.rows = 0
        schema = pa.schema([DATASET_SCHEMA.field(name) for name in names])
        self.reader = pa.RecordBatchReader.from_batches(schema, self._batches(rows, schema))

    def _batches(self, rows: Rows, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for table in rows:
                for batch in table.select(schema.names).cast(schema).to_batches():
                    self.rows += len(batch)
                    yield batch
        except BaseException as error:
            self.error = error
            raise
