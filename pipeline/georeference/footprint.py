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
    return outlined(place.scene_to_lonlat(_sides(place.width, place.height)))


def outlined(ring: FloatArray) -> Footprint | None:
    """The footprint inside (N, 2) longitudes and latitudes along an outline, each in [-180, 180], not closed.

    Neighbours lie less than half a turn apart. A ring that goes around the Earth holds the pole of its hemisphere.
    None where fewer than three of them are finite, or they enclose nothing.
    """
    ring = ring[np.isfinite(ring).all(axis=1)]
    if len(ring) < 3:
        return None
    polygon = shapely.Polygon(_unwrapped(ring))
    west, south, east, north = polygon.bounds
    polygon = shapely.simplify(polygon, BEND * min(east - west, north - south))
    parts = _parts(polygon if polygon.is_valid else shapely.make_valid(polygon))
    return _cut(parts) if parts else None


def _sides(width: int, height: int) -> FloatArray:
    """Scene pixels around the scene, once each, from corner to corner."""
    steps = np.arange(PIECES) / PIECES
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    ends = np.roll(corners, -1, axis=0)
    sides = corners[:, None] + steps[:, None] * (ends - corners)[:, None]
    return sides.reshape(-1, 2)


def _unwrapped(ring: FloatArray) -> FloatArray:
    """The ring without jumps in longitude, its middle within a turn of Greenwich; led over the pole where it holds
    one."""
    longitudes = np.unwrap(ring[:, 0], period=360.0)
    around = longitudes[-1] + _step(longitudes[-1], longitudes[0]) - longitudes[0]
    turned = np.column_stack([longitudes, ring[:, 1]])
    if abs(around) > 180:  # it comes back a whole turn later
        pole = np.copysign(90.0, ring[:, 1].mean())
        first, last = longitudes[0], longitudes[0] + around
        turned = np.vstack([turned, [[last, ring[0, 1]], [last, pole], [first, pole]]])
    turned[:, 0] -= 360.0 * np.round((turned[:, 0].min() + turned[:, 0].max()) / 720.0)
    return turned


def _step(start: float, end: float) -> float:
    """The shorter way from one longitude to another, degrees."""
    return float((end - start + 180.0) % 360.0 - 180.0)


def _parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons of a geometry that enclose something."""
    found = shapely.get_parts(geometry).tolist()
    return [one for one in found if isinstance(one, shapely.Polygon) and one.area > 0]


def _cut(polygons: list[shapely.Polygon]) -> Footprint | None:
    """Polygons that may pass ±180 → the parts of each turn of the Earth, moved to their places."""
    whole = shapely.union_all(polygons)
    turns: dict[float, list[shapely.Polygon]] = {}
    for turn in (-360.0, 0.0, 360.0):
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
