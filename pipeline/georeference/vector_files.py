"""Vector files as GDAL may see them. A home of pyogrio, with :mod:`pipeline.outputs.geopackage`.

Four formats are read, told by their first bytes and not by their names, because GDAL's other drivers follow what is
written in a file to databases, archives and addresses. GDAL sees the file under a name of ours, in a folder of our
own: a name can then mean nothing else, and nothing is written beside the user's file.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.environment import hidden
from pipeline.errors import ConfigError
from pipeline.names import brief
from pipeline.storage.fetching import fetched_file
from pipeline.threads import unwarned

FORMATS = {b"SQLite format 3\0": ".gpkg", b"fgb\x03": ".fgb", b"\x00\x00\x27\x0a": ".shp"}
"""First bytes → the suffix that leads GDAL to the one driver for them. GeoJSON is told by its content."""

GEOJSON_TYPES = ("FeatureCollection", "Feature", "Polygon", "MultiPolygon", "GeometryCollection", "Point", "MultiPoint",
                 "LineString", "MultiLineString")  # fmt: skip

SHAPEFILE = (".shx", ".dbf", ".prj", ".cpg")
"""What lies beside a ``.shp``."""

STANDARD_VIEWS = ("st_spatial_ref_sys", "st_geometry_columns", "spatial_ref_sys", "geometry_columns")
"""Views that version 1.0 of the GeoPackage standard knows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One layer of a vector file, or a table."""

    geometry: NDArray[Any]
    """(N,) WKB, or None where a row has no geometry."""
    columns: dict[str, NDArray[Any]]
    """The other columns that were asked for, (N,) each."""
    crs: str | None
    """WKT, PROJJSON, or an authority's code such as ``EPSG:4326``; None: the file names none."""


def read_layers(uri: str, called: str, columns: Sequence[str] | None = ()) -> dict[str, Layer]:
    """The layers of a GeoJSON, GeoPackage, Shapefile or FlatGeobuf that have a geometry, by name.

    ``called`` begins the sentences of errors (``the area of interest x.geojson``); ``columns`` are read, None for all.
    Raises ConfigError when there is no such file, it is none of these formats, it would lead to another file or
    address, or a coordinate in GeoJSON is not finite; StorageError when a store cannot be read.
    """
    with fetched_file(uri) as path, tempfile.TemporaryDirectory(prefix="kestrel-") as folder:
        return _read(_linked(path, Path(folder), called), called, columns)


def _linked(path: Path, folder: Path, name: str) -> Path:
    """The file under a name of our own in ``folder``, after a look into it. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
            suffix = next((suffix for magic, suffix in FORMATS.items() if head.startswith(magic)), ".geojson")
            if suffix == ".geojson":
                _check_geojson(head + file.read(), name)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read ({error.strerror})") from error
    if suffix == ".gpkg":
        _check_geopackage(path, name)
    (folder / f"drawn{suffix}").symlink_to(path.absolute())
    if suffix == ".shp":
        for one, source in _beside(path).items():
            (folder / f"drawn{one}").symlink_to(source.absolute())
    return folder / f"drawn{suffix}"


def _beside(path: Path) -> dict[str, Path]:
    """The other files of a Shapefile by their suffixes, in whatever letters: ``AREA.SHP`` has an ``area.Prj``, too.

    Of several the one that is written most like ``path`` itself.
    """
    try:
        names = list(path.parent.iterdir())
    except OSError:  # a folder that may be entered and not listed
        names = [path.with_suffix(one) for one in SHAPEFILE]
    near = [one for one in names if one.stem.lower() == path.stem.lower() and one.is_file()]
    near.sort(key=lambda one: (one.stem == path.stem, one.suffix.isupper() == path.suffix.isupper(), one.name))
    return {one.suffix.lower(): one for one in near if one.suffix.lower() in SHAPEFILE}


def _check_geojson(text: bytes, name: str) -> None:
    """Raise ConfigError unless ``text`` is GeoJSON that GDAL reads without asking anybody for its CRS."""
    try:
        content = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_number)
    except _Refused as error:
        raise ConfigError(f"{name} {error}") from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("type") not in GEOJSON_TYPES:
        raise ConfigError(
            f"{name} is no vector file of an allowed format: give a GeoJSON, GeoPackage, Shapefile or FlatGeobuf"
        )


class _Refused(Exception):
    """Something in a GeoJSON that ends the reading of it; the message is the end of a sentence."""


def _no_number(text: str) -> None:
    raise _Refused(f"holds the coordinate {brief(text)}; every coordinate must be a finite number")


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
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of a schema that is no text
        raise ConfigError(f"{name} is a damaged GeoPackage; copy it again") from error
    for kind, view, sql in made:
        text = str(sql or "").upper()
        virtual = text.startswith("CREATE VIRTUAL") and "RTREE" not in text
        if virtual or (kind == "view" and view not in STANDARD_VIEWS):
            raise ConfigError(
                f"{name} holds {brief(str(view))}, a view or virtual table, which is a program: "
                "copy the layer to a GeoPackage of its own"
            )


def _read(path: Path, name: str, columns: Sequence[str] | None) -> dict[str, Layer]:
    """GDAL's answer by layers that have a geometry."""
    wanted = None if columns is None else list(columns)
    with hidden():  # it reads the environment while it is imported; late: it brings pandas along
        import pyogrio
    errors = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError)
    try:
        with unwarned(RuntimeWarning):  # what GDAL finds odd fails later or is harmless
            layers = [str(layer) for layer, kind in pyogrio.list_layers(path) if kind is not None]
            read = {layer: pyogrio.raw.read(path, layer=layer, columns=wanted, force_2d=True) for layer in layers}
    except (*errors, ValueError) as error:
        raise ConfigError(
            f"{name} is no vector file that GDAL can read; give a GeoJSON, GeoPackage, Shapefile or FlatGeobuf"
        ) from error
    return {
        layer: Layer(
            geometry=np.zeros(0, object) if geometry is None else geometry,
            columns=dict(zip((str(one) for one in meta["fields"]), values, strict=True)),
            crs=meta["crs"],
        )
        for layer, (meta, _, geometry, values) in read.items()
    }
