"""Areas of interest from vector files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.errors import ConfigError
from pipeline.georeference.vector_files import read_layers
from pipeline.names import complaint, shown
from pipeline.threads import unwarned

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
    layers = read_layers(uri, f"the area of interest {shown(uri)}")
    parts = {name: _polygons(layer.geometry, shown(uri)) for name, layer in layers.items()}
    used = [layer for layer in layers if len(parts[layer])]
    if not used:
        raise ConfigError(f"{shown(uri)} holds no polygon, so it bounds no area; draw one, or leave --aoi out")
    systems = {layers[layer].crs for layer in used}
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


def _polygons(geometry: Any, name: str) -> Any:
    """The polygons among the WKBs ``geometry``, however deep, each valid. Raises ConfigError."""
    with _repairing(name):
        shapes = shapely.from_wkb(geometry[geometry != None])  # noqa: E711
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
        with unwarned(RuntimeWarning):
            yield
    except shapely.errors.GEOSException as error:
        raise ConfigError(
            f"the area of interest {name} has a shape that cannot be repaired ({shown(str(error).strip())})"
        ) from error
