"""Where a scene lies on Earth, as GeoJSON has it (RFC 7946): longitude and latitude, cut at the antimeridian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from pipeline.georeference.georeference import Georeference
from pipeline.types import FloatArray

PIECES = 32
"""Parts that each side of a scene is followed in: straight lines of one projection are none in another."""
STEP_DEG, HALVINGS = 4.0, 16
"""Near a pole a short way turns far: a part that turns further than this is halved, so often at most."""
BEND = 2e-4
"""A corner is left out where the outline without it differs by less than this share of the scene's smaller extent."""
DIGITS = 7
"""Of degrees: a centimetre on the ground."""
SLIVER = 1e-9
"""Parts with a smaller share of the area are rounding, not ground beyond the antimeridian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The outline of a scene."""

    geometry: dict[str, Any]
    """GeoJSON: a Polygon, or a MultiPolygon cut at ±180° (RFC 7946, 3.1.9); exterior rings counter-clockwise."""
    bbox: tuple[float, float, float, float]
    """West, south, east, north, degrees; west is greater than east across the antimeridian (RFC 7946, 5.2)."""


def footprint(place: Georeference) -> Footprint | None:
    """The outline of all pixels of a scene; None where none of it has a longitude and a latitude."""
    along = np.arange(4 * PIECES) / PIECES
    lonlat = place.scene_to_lonlat(_around(along, place.width, place.height))
    for _ in range(HALVINGS):
        turns = np.abs(_step(lonlat[:, 0], np.roll(lonlat[:, 0], -1)))
        wide = np.flatnonzero(turns > STEP_DEG)  # NaN is not
        if not len(wide):
            break
        between = (along[wide] + np.append(along[1:], 4.0)[wide]) / 2
        along = np.insert(along, wide + 1, between)
        lonlat = np.insert(lonlat, wide + 1, place.scene_to_lonlat(_around(between, place.width, place.height)), axis=0)
    return outlined(lonlat)


def outlined(ring: FloatArray) -> Footprint | None:
    """The footprint inside (N, 2) longitudes and latitudes along an outline, each in [-180, 180], not closed.

    Neighbours lie less than half a turn apart. A ring that goes around the Earth holds the pole of its hemisphere.
    None where fewer than three of them are finite, or they enclose nothing.
    """
    ring = ring[np.isfinite(ring).all(axis=1)]
    if len(ring) < 3:
        return None
    longitudes = np.unwrap(ring[:, 0], period=360.0)
    back = longitudes[-1] + _step(longitudes[-1], longitudes[0])
    turns: tuple[float, ...] = (-360.0, 0.0, 360.0)
    around = 360.0 * np.round((back - longitudes[0]) / 360.0)
    if around:  # it comes back a whole turn later: two turns of it, led over the pole, have no seam at ±180
        pole = np.copysign(90.0, ring[:, 1].mean())
        copies = [np.column_stack([longitudes + turn * around, ring[:, 1]]) for turn in (-1, 0)]
        points = np.vstack(copies)
        points = np.vstack([points, [[points[-1, 0], pole], [points[0, 0], pole]]])
        turns = (0.0,)
    else:
        longitudes -= 360.0 * np.round((longitudes.min() + longitudes.max()) / 720.0)
        points = np.column_stack([longitudes, ring[:, 1]])
    smallest = min(np.ptp(longitudes), np.ptp(ring[:, 1]))
    polygon = shapely.simplify(shapely.Polygon(points), BEND * smallest)
    parts = _parts(polygon if polygon.is_valid else shapely.make_valid(polygon))
    return _cut(parts, turns) if parts else None


def _around(along: FloatArray, width: int, height: int) -> FloatArray:
    """(N,) places on the way around a scene, 0 to 4, a side each → (N, 2) scene pixels."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], np.float64)
    side = along.astype(int)
    points: FloatArray = corners[side] + (along - side)[:, None] * (corners[side + 1] - corners[side])
    return points


def _step(start: FloatArray, end: FloatArray) -> FloatArray:
    """The shorter way from one longitude to another, degrees."""
    return np.asarray((end - start + 180.0) % 360.0 - 180.0)


def _parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons of a geometry that enclose something."""
    found = shapely.get_parts(geometry).tolist()
    return [one for one in found if isinstance(one, shapely.Polygon) and one.area > 0]


def _cut(polygons: list[shapely.Polygon], wanted: tuple[float, ...]) -> Footprint | None:
    """Polygons that may pass ±180 → the parts of the ``wanted`` turns of the Earth, moved to their places."""
    whole = shapely.union_all(polygons)
    turns: dict[float, list[shapely.Polygon]] = {}
    for turn in wanted:
        inside = shapely.intersection(whole, shapely.box(turn - 180, -90, turn + 180, 90))
        kept = [part for part in _parts(inside) if part.area > SLIVER * whole.area]
        if kept:
            turns[turn] = [shapely.transform(part, lambda points, by=turn: points - (by, 0)) for part in kept]
    if not turns:
        return None
    first, last = (shapely.total_bounds(turns[turn]) for turn in (min(turns), max(turns)))
    placed = shapely.union_all([part for parts in turns.values() for part in parts])
    around = whole.bounds[2] - whole.bounds[0] >= 360.0
    west, east = (-180.0, 180.0) if around else (first[0], last[2])
    _, south, _, north = placed.bounds
    degrees = [round(float(one), DIGITS) for one in (west, south, east, north)]
    return Footprint(geometry=_geojson(placed), bbox=(degrees[0], degrees[1], degrees[2], degrees[3]))


def _geojson(geometry: shapely.Geometry) -> dict[str, Any]:
    """Polygons as GeoJSON, exterior rings counter-clockwise."""
    polygons = [
        [
            [[round(x, DIGITS), round(y, DIGITS)] for x, y in shapely.get_coordinates(ring).tolist()]
            for ring in (one.exterior, *one.interiors)
        ]
        for one in (shapely.geometry.polygon.orient(part) for part in _parts(geometry))
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
