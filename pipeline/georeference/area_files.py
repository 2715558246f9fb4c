"""Areas of interest from vector files. A home of pyogrio, with :mod:`pipeline.outputs.geopackage`.

Four formats are read, told by their first bytes and not by their names, because GDAL's other drivers follow what is
written in a file to databases, archives and addresses. GDAL sees the file under a name of ours, in a folder of our
own: a name can then mean nothing else, and nothing is written beside the user's file.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.config.environment import hidden
from pipeline.errors import ConfigError
from pipeline.names import complaint, shown
from pipeline.storage.fetching import fetched_file

with hidden():  # it reads the environment while it is imported
    import pyogrio

FORMATS = {b"SQLite format 3\0": ".gpkg", b"fgb\x03": ".fgb", b"\x00\x00\x27\x0a": ".shp"}
"""First bytes → the suffix that leads GDAL to the one driver for them. GeoJSON is told by its content."""

GEOJSON_TYPES = ("FeatureCollection", "Feature", "Polygon", "MultiPolygon", "GeometryCollection", "Point", "MultiPoint",
                 "LineString", "MultiLineString")  # fmt: skip

SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")

STANDARD_VIEWS = ("st_spatial_ref_sys", "st_geometry_columns", "spatial_ref_sys", "geometry_columns")
"""Views that version 1.0 of the GeoPackage standard knows."""

LARGEST = 1e9
"""No CRS has larger coordinates (the Earth measures 4e7 m around), and areas must not overflow."""

_OGR_ERRORS = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError)


def read_aoi(uri: str) -> tuple[BaseGeometry, str | None]:
    """The union of all polygons in the first layer of a vector file, and its CRS (None: it names none).

    GeoJSON, GeoPackage, Shapefile or FlatGeobuf. Rings that cross themselves are repaired by the even-odd rule. The
    CRS is WKT, or an authority's code such as ``EPSG:4326`` where the file knows one.
    Raises ConfigError when there is no such file, it is none of these formats, it would lead to another file or
    address, a coordinate is not finite, or there is no polygon; StorageError when a store cannot be read.
    """
    reason = complaint(uri)
    if reason is not None:
        raise ConfigError(f"the area of interest {shown(uri)} is refused: {reason}")
    with fetched_file(uri) as path, tempfile.TemporaryDirectory(prefix="kestrel-") as folder:
        meta, geometry = _read(_linked(path, Path(folder), shown(uri)), shown(uri))
    return _union(geometry, shown(uri)), meta["crs"]


def _linked(path: Path, folder: Path, name: str) -> Path:
    """The file under a name of our own in ``folder``, after a look into it. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
            suffix = next((suffix for magic, suffix in FORMATS.items() if head.startswith(magic)), ".geojson")
            if suffix == ".geojson":
                _check_geojson(head + file.read(), name)
    except OSError as error:
        raise ConfigError(f"the area of interest {name} cannot be read ({error.strerror})") from error
    if suffix == ".gpkg":
        _check_geopackage(path, name)
    for one in SHAPEFILE if suffix == ".shp" else (suffix,):
        source = path if one == suffix else path.with_suffix(one)
        if source.is_file():
            (folder / f"aoi{one}").symlink_to(source.absolute())
    return folder / f"aoi{suffix}"


def _check_geojson(text: bytes, name: str) -> None:
    """Raise ConfigError unless ``text`` is GeoJSON that GDAL reads without asking anybody for its CRS."""
    try:
        content = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_number)
    except _Refused as error:
        raise ConfigError(f"the area of interest {name} {error}") from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("type") not in GEOJSON_TYPES:
        raise ConfigError(
            f"{name} is no vector file of an allowed format: give a GeoJSON, GeoPackage, Shapefile or FlatGeobuf"
        )


class _Refused(Exception):
    """Something in a GeoJSON that ends the reading of it; the message is the end of a sentence."""


def _no_number(text: str) -> None:
    raise _Refused(f"holds the coordinate {text}; every coordinate must be a finite number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object; a CRS that is not called by its name is an address, and GDAL would fetch it."""
    for key, value in pairs:
        if key == "crs" and isinstance(value, dict) and str(value.get("type", "name")).lower() not in ("name", "epsg"):
            raise _Refused("gives its CRS as an address; name it, as in urn:ogc:def:crs:EPSG::32633")
    return dict(pairs)


def _check_geopackage(path: Path, name: str) -> None:
    """Raise ConfigError for a GeoPackage whose layers are programs: views may never end, virtual tables read files."""
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)) as database:
            made = database.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"the area of interest {name} is a damaged GeoPackage; copy it again") from error
    for kind, view, sql in made:
        text = str(sql or "").upper()
        virtual = text.startswith("CREATE VIRTUAL") and "RTREE" not in text
        if virtual or (kind == "view" and view not in STANDARD_VIEWS):
            raise ConfigError(
                f"the area of interest {name} holds {shown(str(view))}, a view or virtual table, which is a program: "
                "copy the layer to a GeoPackage of its own"
            )


def _read(path: Path, name: str) -> tuple[dict[str, Any], Any]:
    """GDAL's answer: metadata, and the geometries as WKB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what GDAL finds odd either fails below or is harmless
            meta, _, geometry, _ = pyogrio.raw.read(path, layer=0, columns=[], force_2d=True)
    except (*_OGR_ERRORS, ValueError) as error:
        raise ConfigError(
            f"{name} is no vector file that GDAL can read; give a GeoJSON, GeoPackage, Shapefile or FlatGeobuf"
        ) from error
    return meta, geometry


def _union(geometry: Any, name: str) -> BaseGeometry:
    """One valid geometry from the polygons among the WKBs ``geometry``. Raises ConfigError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            shapes = shapely.from_wkb([] if geometry is None else geometry[geometry != None])  # noqa: E711
            coordinates = shapely.get_coordinates(shapes)
            if not (np.isfinite(coordinates).all() and (np.abs(coordinates) <= LARGEST).all()):
                raise ConfigError(
                    f"the area of interest {name} has a coordinate that is not finite or beyond {LARGEST:g}"
                )
            # Validity costs half a minute where a million vertices cross each other's bounds, so it is asked once.
            broken = ~shapely.is_valid(shapes)
            shapes[broken] = shapely.make_valid(shapes[broken])
            parts = shapely.get_parts(shapely.get_parts(shapes))
            polygons = parts[shapely.area(parts) > 0]
            if not len(polygons):
                raise ConfigError(f"{name} holds no polygon, so it bounds no area; draw one, or leave --aoi out")
            return polygons[0] if len(polygons) == 1 else shapely.union_all(polygons)
    except shapely.errors.GEOSException as error:
        raise ConfigError(
            f"the area of interest {name} has a shape that cannot be repaired ({shown(str(error).strip())})"
        ) from error
