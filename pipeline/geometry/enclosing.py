"""Polygons as oriented boxes: the one rectangle around them, or several that cover them more closely."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.geometry.obb import canonical_obb, obb_to_corners
from pipeline.types import FloatArray

CLOSE = 0.8
"""A box of whose area a polygon fills this share covers it closely."""
FINEST = 32
"""Share of its length, as a fraction of 1, that the pieces of a polygon are not shorter than."""


def enclosing_box(points: FloatArray) -> FloatArray:
    """(1, 5) the canonical rectangle of smallest area that holds (K, 2) points; its shorter side is 0 for a line.

    A smallest rectangle has a side along an edge of the convex hull (Freeman and Shapira, CACM 18(7), 1975).
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    origin = points.mean(axis=0)  # coordinates of a country's grid lose digits in products
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points - origin)))
    edges = np.diff(hull, axis=0)
    angles = np.arctan2(edges[:, 1], edges[:, 0]) if len(edges) else np.zeros(1)
    axes = np.stack([np.cos(angles), np.sin(angles), -np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, 2, 2)
    spans = axes @ hull.T
    low, high = spans.min(axis=-1), spans.max(axis=-1)
    best = int(np.argmin(np.prod(high - low, axis=-1)))
    middle = (low + high)[best] / 2 @ axes[best] + origin
    return canonical_obb(np.array([[*middle, *(high - low)[best], angles[best]]]))


def covering_boxes(polygon: BaseGeometry, *, smallest: float) -> FloatArray:
    """(N, 5) boxes that together hold ``polygon``: it is cut across its longest side until it fills :data:`CLOSE` of
    the box of each piece, or that is no longer than ``smallest``. A rectangle is one box, and there
    are never more than some hundreds: of a large polygon the pieces are larger."""
    polygon = polygon if shapely.is_valid(polygon) else shapely.make_valid(polygon)
    whole = enclosing_box(shapely.get_coordinates(polygon))
    smallest = max(smallest, whole[0, 2] / FINEST)
    waiting, boxes = [polygon], [np.zeros((0, 5))]
    while waiting:
        for part in shapely.get_parts(waiting.pop()):
            if not shapely.area(part) > 0:
                continue
            box = enclosing_box(shapely.get_coordinates(part))
            width, height = box[0, 2:4]
            if shapely.area(part) >= CLOSE * width * height or width <= smallest:
                boxes.append(box)
            else:
                waiting += [shapely.intersection(part, half) for half in _halves(box)]
    return np.concatenate(boxes)


def _halves(box: FloatArray) -> list[BaseGeometry]:
    """The two halves of a box, cut across its longer side; a little larger outside, so that no edge is lost."""
    cx, cy, width, height, angle = box[0]
    step = np.array([np.cos(angle), np.sin(angle)]) * width / 2
    rows = [[*(np.array([cx, cy]) + step * side), width, 2 * height, angle] for side in (-1, 1)]
    return [shapely.polygons(corners) for corners in obb_to_corners(np.array(rows))]
