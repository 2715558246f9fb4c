"""Rings of longitude and latitude that stay on the map: in one piece, or cut at ±180° and closed around a pole."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry.polygon import orient

from pipeline.types import BoolArray, FloatArray


def unwrapped(lonlat: FloatArray) -> FloatArray:
    """Rings (N, 4, 2) whose longitudes do not jump from corner to corner, with their middle in [-180, 180].

    Only rings that need it change. Where the projection has no answer (infinity), everything becomes NaN.
    """
    lonlat = np.where(np.isfinite(lonlat), lonlat, np.nan)
    longitudes = lonlat[..., 0]
    turns = np.zeros_like(longitudes)
    turns[:, 1:] = np.cumsum(np.rint(np.diff(longitudes, axis=1) / 360), axis=1)
    turns = turns + np.rint((longitudes - 360 * turns).mean(axis=1, keepdims=True) / 360)
    return np.stack([np.where(turns == 0, longitudes, longitudes - 360 * turns), lonlat[..., 1]], axis=-1)


def off_the_map(rings: FloatArray) -> BoolArray:
    """(N,) True for rings as :func:`unwrapped` gives them that leave [-180, 180], or go around a pole; not for NaN."""
    return np.asarray((np.abs(rings[..., 0]) > 180).any(axis=1) | (np.abs(_turns(rings)) > 0))


def pieces(ring: FloatArray) -> list[FloatArray]:
    """The closed counter-clockwise rings (K, 2), all in [-180, 180], of one unwrapped ring (4, 2) that is off the map.

    One across ±180° is cut there (RFC 7946, 3.1.9). One around a pole, which has no inside on a flat map of degrees,
    becomes all that lies between it and the pole.
    """
    if _turns(ring[None])[0]:
        return [_coordinates(_cap(ring))]
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        part = shapely.intersection(shapely.Polygon(ring), shapely.box(turn - 180, -90, turn + 180, 90))
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            parts.append(_coordinates(part) - (turn, 0))
    return parts


def _turns(rings: FloatArray) -> FloatArray:
    """(N,) times that rings (N, 4, 2) go around the axis of the Earth: 0 but for those around a pole."""
    return np.asarray(np.rint((rings[:, 0, 0] - rings[:, 3, 0]) / 360))


def _cap(ring: FloatArray) -> shapely.Polygon:
    """Everything between a ring around a pole and the pole."""
    longitudes = (ring[:, 0] + 180) % 360 - 180
    order = np.argsort(longitudes)
    lon, lat = longitudes[order], ring[order, 1]
    # At ±180 the ring lies between its last corner and its first.
    share = (180 - lon[-1]) / (lon[0] + 360 - lon[-1])
    seam = lat[-1] + share * (lat[0] - lat[-1])
    pole = float(np.copysign(90.0, lat.mean()))
    return shapely.Polygon([(-180, seam), *zip(lon, lat, strict=True), (180, seam), (180, pole), (-180, pole)])


def _coordinates(polygon: shapely.Polygon) -> FloatArray:
    return np.asarray(shapely.get_coordinates(orient(polygon)), np.float64)
