"""Distances and directions on the WGS84 ellipsoid, and longitudes on either side of ±180°."""

from __future__ import annotations

import numpy as np
from pyproj import Geod

from pipeline.types import FloatArray

WGS84 = Geod(ellps="WGS84")


def nearest_turn(longitude: FloatArray, anchor: FloatArray | float) -> FloatArray:
    """Longitudes moved by whole turns to within 180 degrees of ``anchor``."""
    return np.asarray(longitude - 360.0 * np.round((longitude - anchor) / 360.0))


def geodesic_m(start: FloatArray, end: FloatArray) -> FloatArray:
    """(N,) geodesic metres between (N, 2) longitudes and latitudes."""
    return np.asarray(WGS84.inv(start[:, 0], start[:, 1], end[:, 0], end[:, 1])[2], np.float64)


def geocentric(lonlat: FloatArray) -> FloatArray:
    """(..., 2) longitude and latitude on the ellipsoid → (..., 3) geocentric metres."""
    lon, lat = np.radians(lonlat[..., 0]), np.radians(lonlat[..., 1])
    vertical = WGS84.a / np.sqrt(1 - WGS84.es * np.sin(lat) ** 2)
    across = vertical * np.cos(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), vertical * (1 - WGS84.es) * np.sin(lat)], axis=-1)


def azimuth_deg(direction: FloatArray, place: FloatArray) -> FloatArray:
    """(N,) degrees in [0, 180) clockwise from true north of (N, 3) geocentric directions seen at (N, 3) places."""
    x, y, z = place.T
    across = np.hypot(x, y)
    lon, lat = np.arctan2(y, x), np.arctan2(z, across * (1 - WGS84.es))
    dx, dy, dz = direction.T
    outward = dx * np.cos(lon) + dy * np.sin(lon)
    east = dy * np.cos(lon) - dx * np.sin(lon)
    north = dz * np.cos(lat) - outward * np.sin(lat)
    # To a millionth of a degree, which is noise for any object, so that due south is 0 and not 179.9999999.
    return np.asarray(np.round(np.degrees(np.arctan2(east, north)), 6) % 180, np.float64)
