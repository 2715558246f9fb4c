"""The exact overlap of two oriented boxes. float64 throughout.

The overlap is computed by clipping one rectangle, in the frame of the other, against its four sides (Sutherland
and Hodgman, "Reentrant polygon clipping", CACM 17(1), 1974). Coordinates are differences of centres before
anything is multiplied, so boxes at UTM magnitudes (5e6) lose nothing, and every clip cuts a closed polygon, so
nearly identical boxes, where edges are nearly parallel, are as exact as any others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.compiled import compiled
from pipeline.geometry.obb import checked
from pipeline.types import FloatArray


def intersection_area_pairs(a: FloatArray, b: FloatArray) -> FloatArray:
    """Areas (M,) common to ``a[i]`` and ``b[i]``, both (M, 5). Bit for bit the same with a and b exchanged.

    Raises ValueError when the shapes differ, a size is negative or anything is not finite.
    """
    a, b = checked(a), checked(b)
    if a.shape != b.shape:
        raise ValueError(f"pairs need as many boxes on either side, got {len(a)} and {len(b)}")
    return np.asarray(_areas_of_pairs(a, b))


def rotated_iou_pairs(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union (M,) of ``a[i]`` and ``b[i]``, both (M, 5), in [0, 1]; 0 where both are empty.

    Raises ValueError as :func:`intersection_area_pairs` does.
    """
    common = intersection_area_pairs(a, b)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


@compiled
def _areas_of_pairs(a: FloatArray, b: FloatArray) -> FloatArray:
    scratch = np.empty((2, 24, 2))
    out = np.empty(len(a))
    for i in range(len(a)):
        out[i] = intersection_area(a[i], b[i], scratch)
    return out


@compiled
def intersection_area(a: FloatArray, b: FloatArray, scratch: NDArray[Any]) -> float:
    """Area common to two boxes (5,); ``scratch`` is (2, 24, 2) float64 and is overwritten."""
    area_a, area_b = a[2] * a[3], b[2] * b[3]
    if _comes_second(a, b, area_a, area_b):
        a, b = b, a
    dx, dy = b[0] - a[0], b[1] - a[1]
    cos, sin = math.cos(a[4]), math.sin(a[4])
    x, y = dx * cos + dy * sin, dy * cos - dx * sin
    cos, sin = math.cos(b[4] - a[4]), math.sin(b[4] - a[4])
    ux, uy, vx, vy = cos * b[2] / 2, sin * b[2] / 2, -sin * b[3] / 2, cos * b[3] / 2
    polygon = scratch[0]
    polygon[0, 0], polygon[0, 1] = x - ux - vx, y - uy - vy
    polygon[1, 0], polygon[1, 1] = x + ux - vx, y + uy - vy
    polygon[2, 0], polygon[2, 1] = x + ux + vx, y + uy + vy
    polygon[3, 0], polygon[3, 1] = x - ux + vx, y - uy + vy
    n = 4
    for side in range(4):
        n = _clip(scratch[side % 2], n, scratch[1 - side % 2], side // 2, 1.0 - 2.0 * (side % 2), a[2 + side // 2] / 2)
        if n == 0:
            return 0.0
    twice = 0.0
    for i in range(1, n - 1):
        twice += (polygon[i, 0] - polygon[0, 0]) * (polygon[i + 1, 1] - polygon[0, 1])
        twice -= (polygon[i, 1] - polygon[0, 1]) * (polygon[i + 1, 0] - polygon[0, 0])
    return float(max(0.0, min(twice / 2, area_a, area_b)))


@compiled
def _comes_second(a: FloatArray, b: FloatArray, area_a: float, area_b: float) -> bool:
    """Whether b is the one to clip against: one rule for (a, b) and (b, a), so rounding cannot differ."""
    if area_a != area_b:
        return area_a < area_b
    for i in range(5):
        if a[i] != b[i]:
            return bool(a[i] < b[i])
    return False


@compiled
def _clip(source: FloatArray, n: int, target: FloatArray, axis: int, sign: float, limit: float) -> int:
    """Cut the polygon ``source[:n]`` to ``sign * p[axis] <= limit``, into ``target``; returns its vertex count.

    A convex polygon gains at most one vertex per cut. Rounding can bend one a little; 24 places hold even the
    worst zigzag of four cuts.
    """
    other, m = 1 - axis, 0
    for i in range(n):
        p, q = source[i], source[(i + 1) % n]
        inside_p, inside_q = limit - sign * p[axis], limit - sign * q[axis]
        if inside_p >= 0:
            target[m, 0], target[m, 1] = p[0], p[1]
            m += 1
        if (inside_p >= 0) != (inside_q >= 0):
            t = inside_p / (inside_p - inside_q)
            target[m, axis] = sign * limit
            target[m, other] = p[other] + t * (q[other] - p[other])
            m += 1
    return m
