"""Sizes of boxes on the ground."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class GroundMeasures:
    """Sizes of N boxes on the ground, geodesic on the WGS84 ellipsoid; (N,) float64 each."""

    length_m: FloatArray
    """Between the midpoints of those opposite sides that lie farther apart."""
    width_m: FloatArray
    """Between the midpoints of the other two."""
    area_m2: FloatArray
    azimuth_deg: FloatArray
    """Of the length, at the box's centre, clockwise from true north, in [0, 180)."""
