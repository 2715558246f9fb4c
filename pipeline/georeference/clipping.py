"""An area of interest cut to the neighbourhood of a scene before it is reprojected."""

from __future__ import annotations

import numpy as np
import shapely
from shapely import affinity

from pipeline.georeference.ground import nearest_turn
from pipeline.types import FloatArray

AREA_MARGIN = 0.1
"""An area of interest is clipped to the scene's bounds, widened by this share, before it is reprojected: far from
the scene a projection may have no answer, and nobody needs one."""

AREA_SEGMENTS = 256
"""Edges of an area of interest are cut to this share of the clip box, because a straight edge bends in another CRS."""


def clip_to(geometry: shapely.Geometry, footprint: FloatArray, *, degrees: bool) -> shapely.Geometry:
    """``geometry`` cut to the bounds of ``footprint`` (N, 2) and a margin, its edges cut short.

    In degrees, copies of the geometry one turn to the west and east are cut too, because the footprint may reach
    across the antimeridian where the geometry is written on the other side.
    """
    finite = footprint[np.isfinite(footprint).all(axis=1)]
    if not len(finite):
        return shapely.Polygon()
    if degrees:
        middle = finite[len(finite) // 2, 0]
        finite = np.column_stack([nearest_turn(finite[:, 0], middle), finite[:, 1]])
    low, high = finite.min(axis=0), finite.max(axis=0)
    margin = AREA_MARGIN * (high - low)
    low, high = low - margin, high + margin
    if degrees:
        low, high = np.maximum(low, (middle - 180, -90)), np.minimum(high, (middle + 180, 90))
    box = shapely.box(*low, *high)
    turns = (-360.0, 0.0, 360.0) if degrees else (0.0,)
    valid = shapely.make_valid(geometry)
    pieces = [shapely.intersection(affinity.translate(valid, turn), box) for turn in turns]
    return shapely.segmentize(shapely.union_all(pieces), float((high - low).max()) / AREA_SEGMENTS)
