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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.config.environment import hidden
from pipeline.errors import ConfigError
from pipeline.names import brief, complaint, shown
from pipeline.storage.fetching import fetched_file

FORMATS = {b"SQLite format 3\0": ".gpkg", b"fgb\x03": ".fgb", b"\x00\x00\x27\x0a": ".shp"}
"""First bytes → the suffix that leads GDAL to the one driver for them. GeoJSON is told by its content."""

GEOJSON_TYPES = ("FeatureCollection", "Feature", "Polygon", "MultiPolygon", "GeometryCollection", "Point", "MultiPoint",
                 "LineString", "MultiLineString")  # fmt: skip

SHAPEFILE = (".shx", ".dbf", ".prj", ".cpg")
"""What lies beside a ``.shp``."""

STANDARD_VIEWS = ("st_spatial_ref_sys", "st_geometry_columns", "spatial_ref_sys", "geometry_columns")
"""Views that version 1.0 of the GeoPackage standard knows."""

LARGEST = 1e9
"""No CRS has larger coordinates (the Earth measures 4e7 m around), and areas must not overflow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """What a vector file holds."""

    geometry: BaseGeometry
    """The union of its polygons, in the coordinates of ``crs``."""
    crs: str | None
    """WKT, or an authority's code such as ``EPSG:4326``; None: the file names none."""
    notes: tuple[str, ...] = ()
    """What people should know of how it was read, one sentence each."""


def read_aoi(uri: str) -> tuple[BaseGeometry, str | None]:
    """The geometry and the CRS of :func:`read_area`."""
    drawn = read_area(uri)
    return drawn.geometry, drawn.crs


def read_area(uri: str) -> Drawn:
    """The union of all polygons in all layers of a vector file; or a box, ``west,south,east,north`` in degrees.

    GeoJSON, GeoPackage, Shapefile or FlatGeobuf. Rings that cross themselves are repaired by the even-odd rule.
    Raises ConfigError when there is no such file, it is none of these formats, it would lead to another file or
    address, its layers differ in CRS, a coordinate is not finite, or there is no polygon; StorageError when a store
    cannot be read.
    """
    reason = complaint(uri)
    if reason is not None:
        raise ConfigError(f"the area of interest {shown(uri)} is refused: {reason}")
    box = box_in_degrees(uri)
    if box is not None:
        return Drawn(geometry=box, crs="OGC:CRS84")
    with fetched_file(uri) as path, tempfile.TemporaryDirectory(prefix="kestrel-") as folder:
        layers = _read(_linked(path, Path(folder), shown(uri)), shown(uri))
    parts = {layer: _polygons(geometry, shown(uri)) for layer, (_, geometry) in layers.items()}
    used = [layer for layer in layers if len(parts[layer])]
    if not used:
        raise ConfigError(f"{shown(uri)} holds no polygon, so it bounds no area; draw one, or leave --aoi out")
    systems = {layers[layer][0]["crs"] for layer in used}
    names = ", ".join(shown(layer) for layer in used)
    if len(systems) > 1:
        raise ConfigError(
            f"the layers of {shown(uri)} differ in CRS ({names}); copy the one you mean to a file of its own, as with "
            f"ogr2ogr area.gpkg {shown(uri)} {shown(used[0])}"
        )
    (crs,) = systems
    notes = [f"{shown(uri)}: the polygons of {len(used)} layers bound the area together: {names}"] * (len(used) > 1)
    if crs is None:
        notes.append(
            f"{shown(uri)} names no CRS, and is taken to be in the scene's own; if it is not, name it (in its .prj)"
        )
    return Drawn(
        geometry=_union(np.concatenate([parts[layer] for layer in used]), shown(uri)), crs=crs, notes=tuple(notes)
    )


def box_in_degrees(text: str) -> BaseGeometry | None:
    """``west,south,east,north`` as a polygon; across the antimeridian where west is beyond east. None for other texts.

    Raises ConfigError for numbers that are no such box.
    """
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError:
        return None
    if not (-180 <= west <= 360 and -180 <= east <= 360 and -90 <= south < north <= 90 and west != east):
        raise ConfigError(
            f"the area of interest {shown(text)} is no box: write west,south,east,north in degrees of longitude and "
            "latitude, as in 7.7,44.2,7.8,44.3"
        )
    return shapely.box(west, south, east if west < east else east + 360, north)


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
    (folder / f"aoi{suffix}").symlink_to(path.absolute())
    if suffix == ".shp":
        for one, source in _beside(path).items():
            (folder / f"aoi{one}").symlink_to(source.absolute())
    return folder / f"aoi{suffix}"


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
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"the area of interest {name} is a damaged GeoPackage; copy it again") from error
    for kind, view, sql in made:
        text = str(sql or "").upper()
        virtual = text.startswith("CREATE VIRTUAL") and "RTREE" not in text
        if virtual or (kind == "view" and view not in STANDARD_VIEWS):
            raise ConfigError(
                f"the area of interest {name} holds {brief(str(view))}, a view or virtual table, which is a program: "
                "copy the layer to a GeoPackage of its own"
            )


def _read(path: Path, name: str) -> dict[str, tuple[dict[str, Any], Any]]:
    """GDAL's answer by layers that have a geometry: metadata, and the geometries as WKB."""
    with hidden():  # it reads the environment while it is imported; late: it brings pandas along
        import pyogrio
    errors = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what GDAL finds odd either fails below or is harmless
            layers = [str(layer) for layer, kind in pyogrio.list_layers(path) if kind is not None]
            read = {layer: pyogrio.raw.read(path, layer=layer, columns=[], force_2d=True) for layer in layers}
    except (*errors, ValueError) as error:
        raise ConfigError(
            f"{name} is no vector file that GDAL can read; give a GeoJSON, GeoPackage, Shapefile or FlatGeobuf"
        ) from error
    return {layer: (meta, geometry) for layer, (meta, _, geometry, _) in read.items()}


def _polygons(geometry: Any, name: str) -> Any:
    """The polygons among the WKBs ``geometry``, however deep, each valid. Raises ConfigError."""
    with _repairing(name):
        shapes = shapely.from_wkb([] if geometry is None else geometry[geometry != None])  # noqa: E711
        coordinates = shapely.get_coordinates(shapes)
        if not (np.isfinite(coordinates).all() and (np.abs(coordinates) <= LARGEST).all()):
            raise ConfigError(f"the area of interest {name} has a coordinate that is not finite or beyond {LARGEST:g}")
        # Validity costs half a minute where a million vertices cross each other's bounds, so it is asked once.
        broken = ~shapely.is_valid(shapes)
        shapes[broken] = shapely.make_valid(shapes[broken])
        while (shapely.get_type_id(shapes) >= shapely.GeometryType.MULTIPOINT).any():
            shapes = shapely.get_parts(shapes)
        return shapes[shapely.area(shapes) > 0]


def _union(polygons: Any, name: str) -> BaseGeometry:
    """One valid geometry. Raises ConfigError."""
    with _repairing(name):
        return polygons[0] if len(polygons) == 1 else shapely.union_all(polygons)


@contextmanager
def _repairing(name: str) -> Iterator[None]:
    """What GEOS cannot repair as ConfigError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except shapely.errors.GEOSException as error:
        raise ConfigError(
            f"the area of interest {name} has a shape that cannot be repaired ({shown(str(error).strip())})"
        ) from error
