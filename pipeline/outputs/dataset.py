"""Rows of the national table of detections: those of single scenes, brought to one CRS and one schema.

GeoParquet 1.1 in OGC:CRS84, zstd, row groups of :data:`ROW_GROUP_ROWS`. Everything here is pure but for the one file it
reads or writes, and holds a row group at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from pipeline.errors import StorageError
from pipeline.outputs.geoparquet import geo_metadata, parquet_options
from pipeline.outputs.lonlat import off_the_map, pieces, unwrapped
from pipeline.outputs.rows import counter_clockwise, round_to
from pipeline.outputs.tables import DETECTION_SCHEMA, ROW_GROUP_ROWS, Table, covering
from pipeline.outputs.wkb import WKB_BYTES, polygon_corners, wkb_polygons
from pipeline.types import FloatArray

DATASET_SCHEMA = pa.schema(
    [
        *[field for field in DETECTION_SCHEMA if field.name != "bbox"],
        pa.field("acquired_utc", pa.timestamp("us", "UTC")),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("object_id", pa.string(), nullable=False),
        pa.field("primary", pa.bool_(), nullable=False),
        DETECTION_SCHEMA.field("bbox"),
    ]
)
"""Columns of the dataset: those of ``detections.parquet``, the geometry in longitude and latitude, and

``acquired_utc`` the start of the moment that ``acquired`` names (a day begins at midnight UTC), null when unknown;
``lon``, ``lat`` of the box's centre; ``status`` of the scene, PUBLISHED or PARTIAL (with holes); ``object_id`` the same
for all views of one object in overlapping scenes of one pass, ``primary`` true for the best of them."""

DEGREES_STEP = 2.0**-30
"""Coordinates are multiples of this many degrees, a tenth of a millimetre on the ground: digits below are noise."""

ToLonLat = Callable[[str, FloatArray], FloatArray]
"""A CRS as its file names it, and (..., 2) coordinates in it, to (..., 2) longitude and latitude."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFacts:
    """What a scene's rows get that its ``detections.parquet`` does not say."""

    acquired: str | None
    acquired_us: int | None
    """Microseconds since 1970, UTC."""
    status: str


def file_crs(path: Path) -> str | None:
    """The CRS that a GeoParquet file names, as PROJ understands it; None for a pixel scene."""
    meta = json.loads((pq.read_schema(path).metadata or {}).get(b"geo", b"{}"))
    column = meta["columns"][meta["primary_column"]]
    crs = column.get("crs", "OGC:CRS84")
    return json.dumps(crs) if isinstance(crs, dict) else crs


def scene_batches(path: Path, crs: str, to_lonlat: ToLonLat, facts: SceneFacts) -> Iterator[Table]:
    """The rows of a scene's ``detections.parquet`` in :data:`DATASET_SCHEMA`, a row group at a time.

    Every row is an object of its own, until somebody knows better. Rows that have no place in longitude and latitude
    are left out.
    """
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS):
            yield _in_lonlat(pa.Table.from_batches([batch]), crs, to_lonlat, facts)


def _in_lonlat(table: Table, crs: str, to_lonlat: ToLonLat, facts: SceneFacts) -> Table:
    world = polygon_corners(table)
    rings, centres = to_lonlat(crs, world), to_lonlat(crs, world.mean(axis=1))
    placed = np.isfinite(rings).all(axis=(1, 2)) & np.isfinite(centres).all(axis=1)
    table = table.filter(pa.array(placed))
    rings = round_to(unwrapped(rings[placed]), DEGREES_STEP)
    geometry, bounds = _polygons(rings)
    count = len(table)
    made = {
        "geometry": geometry,
        "acquired": pa.repeat(pa.scalar(facts.acquired, pa.string()), count),
        "acquired_utc": pa.repeat(pa.scalar(facts.acquired_us, pa.int64()), count).cast(pa.timestamp("us", "UTC")),
        "lon": round_to(centres[placed, 0], DEGREES_STEP),
        "lat": round_to(centres[placed, 1], DEGREES_STEP),
        "status": pa.repeat(facts.status, count),
        "object_id": table.column("detection_id"),
        "primary": pa.repeat(True, count),
        "bbox": covering(bounds[:, 0], bounds[:, 1]),
    }
    there = set(table.column_names)
    columns = [
        made[field.name] if field.name in made
        else table.column(field.name) if field.name in there
        else pa.nulls(count, field.type)  # results of earlier versions have no precision
        for field in DATASET_SCHEMA
    ]  # fmt: skip
    return pa.table(columns, schema=DATASET_SCHEMA)


def _polygons(rings: FloatArray) -> tuple[pa.Array, FloatArray]:
    """Unwrapped rings (N, 4, 2) as WKB that stays on the map, and their bounds (N, 2, 2), lower ones first."""
    geometry = wkb_polygons(counter_clockwise(rings))
    bounds = np.stack([rings.min(axis=1), rings.max(axis=1)], axis=1)
    odd = np.flatnonzero(off_the_map(rings))
    if len(odd):
        values = geometry.to_pylist()
        for row in odd:
            parts = pieces(rings[row])
            one = (
                shapely.polygons(parts[0])
                if len(parts) == 1
                else shapely.multipolygons([*map(shapely.polygons, parts)])
            )
            values[row] = shapely.to_wkb(one, byte_order=1)
            bounds[row] = np.reshape(shapely.bounds(one), (2, 2))
        geometry = pa.array(values, pa.binary())
    return geometry, bounds


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Inside, a file of the catalogue is read: StorageError where it is damaged or gone."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"{path.name}, a file of the catalogue, is damaged or gone: remove the folder _catalogue/detections, and "
            "kestrel collect makes it anew"
        ) from error


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[Table]:
    """The rows of a file of the dataset, a row group at a time. Raises StorageError where it is damaged or gone."""
    schema = DATASET_SCHEMA if columns is None else pa.schema([DATASET_SCHEMA.field(name) for name in columns])
    with sound(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS, columns=schema.names):
            yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


def read_rows(paths: Sequence[Path], scene_ids: Collection[str], columns: Sequence[str] | None = None) -> Table:
    """The rows of some scenes in files of the dataset, in their order; ``columns`` None for all."""
    wanted = pa.array(sorted(scene_ids), pa.string())
    names = DATASET_SCHEMA.names if columns is None else list(dict.fromkeys(["scene_id", *columns]))
    found = [pa.schema([DATASET_SCHEMA.field(name) for name in names]).empty_table()]
    for path in paths:
        for table in batches(path, names):
            rows = table.filter(pc.is_in(table.column("scene_id"), wanted))
            if len(rows):
                found.append(rows)
    return pa.concat_tables(found)


Verdict = tuple[str, bool]
"""``object_id`` and ``primary`` of a row."""


def rewritten(path: Path, dropped: set[str], verdicts: Mapping[str, Mapping[str, Verdict]]) -> Iterator[Table]:
    """The rows of a file, without those of the scenes ``dropped``, and with new verdicts: scene_id → detection_id →
    verdict."""
    gone = pa.array(sorted(dropped), pa.string())
    for table in batches(path):
        kept = table.filter(pc.invert(pc.is_in(table.column("scene_id"), gone))) if len(gone) else table
        yield _judged(kept, verdicts) if len(kept) else kept


def _judged(table: Table, verdicts: Mapping[str, Mapping[str, Verdict]]) -> Table:
    touched = pc.is_in(table.column("scene_id"), pa.array(sorted(verdicts), pa.string()))
    rows = np.flatnonzero(touched.to_numpy(zero_copy_only=False))
    if not len(rows):
        return table
    objects, primary = table.column("object_id").to_pylist(), table.column("primary").to_pylist()
    some = table.select(["scene_id", "detection_id"]).take(pa.array(rows))
    names = zip(some.column(0).to_pylist(), some.column(1).to_pylist(), strict=True)
    for row, (scene_id, detection_id) in zip(rows.tolist(), names, strict=True):
        verdict = verdicts[scene_id].get(detection_id)
        if verdict is not None:
            objects[row], primary[row] = verdict
    for name, values in (("object_id", objects), ("primary", primary)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file of the dataset that was written."""

    rows: int
    bytes: int
    bbox: tuple[float, float, float, float] | None
    """West, south, east, north; None for no rows."""
    kinds: tuple[str, ...]
    """Geometry types: Polygon, and MultiPolygon where a box lies across ±180°."""
    digest: str
    """SHA-256 of its bytes, hex."""


class DatasetWriter:
    """Writes tables in :data:`DATASET_SCHEMA` as one file, in full row groups whatever the tables' sizes.

    The same rows in the same order give the same bytes. :attr:`written` is there once the block has ended.
    """

    written: Written

    def __init__(self, path: Path) -> None:
        self._path, self._waiting, self._count, self._rows = path, list[Table](), 0, 0
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)
        self._wide = False
        self._file = pq.ParquetWriter(path, DATASET_SCHEMA, **parquet_options(DATASET_SCHEMA, covering=True))

    def __enter__(self) -> DatasetWriter:
        return self

    def write(self, table: Table) -> None:
        """Take rows; they are written when there is a row group of them."""
        self._waiting.append(table)
        self._count += len(table)
        if self._count >= ROW_GROUP_ROWS:
            whole = self._count - self._count % ROW_GROUP_ROWS
            table = pa.concat_tables(self._waiting)
            self._group(table.slice(0, whole))
            self._waiting, self._count = [table.slice(whole)], self._count - whole

    @property
    def size(self) -> int:
        """Bytes that are in the file already."""
        return self._path.stat().st_size

    def _group(self, table: Table) -> None:
        if not len(table):
            return
        table = table.combine_chunks()
        bounds = shapely.bounds(shapely.from_wkb(table.column("geometry").to_numpy()))
        self._low = np.minimum(self._low, bounds[:, :2].min(axis=0))
        self._high = np.maximum(self._high, bounds[:, 2:].max(axis=0))
        self._wide = self._wide or bool(
            pc.any(pc.not_equal(pc.binary_length(table.column("geometry")), WKB_BYTES)).as_py()
        )
        self._rows += len(table)
        self._file.write_table(table, row_group_size=ROW_GROUP_ROWS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._group(pa.concat_tables(self._waiting) if self._waiting else DATASET_SCHEMA.empty_table())
        bbox = (*self._low.tolist(), *self._high.tolist()) if self._rows else None
        kinds = ("MultiPolygon", "Polygon") if self._wide else ("Polygon",)
        geo = geo_metadata(None, bbox, kinds)
        del geo["columns"]["geometry"]["crs"]  # none named is OGC:CRS84, and null would be unknown
        self._file.add_key_value_metadata({"geo": json.dumps(geo, sort_keys=True, separators=(",", ":"))})
        self._file.close()
        if kind is None:
            with self._path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = self._path.stat().st_size
            self.written = Written(rows=self._rows, bytes=size, bbox=bbox, kinds=kinds, digest=digest)
