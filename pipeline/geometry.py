"""Oriented boxes: representations, frames, and the exact overlap of two of them. float64 throughout.

A box is ``(cx, cy, w, h, angle_rad)``: the rectangle of size w × h around its centre, turned by ``angle_rad``
clockwise on screen (y points down). Canonical boxes have ``w >= h`` and an angle in ``[-pi/2, pi/2)``.

The overlap is computed by clipping one rectangle, in the frame of the other, against its four sides (Sutherland
and Hodgman, "Reentrant polygon clipping", CACM 17(1), 1974). Coordinates are differences of centres before
anything is multiplied, so boxes at UTM magnitudes (5e6) lose nothing, and every clip cuts a closed polygon, so
nearly identical boxes, where edges are nearly parallel, are as exact as any others.
"""

from __future__ import annotations

import math
import os
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.types import BoolArray, FloatArray, IntArray, Lattice, Window

compiled = njit(cache=os.access(Path(__file__).parent, os.W_OK), nogil=True, error_model="numpy")
"""Machine code is kept in ``__pycache__`` (two seconds saved per process) where that folder can be written."""


def canonical_obb(boxes: FloatArray) -> FloatArray:
    """The same rectangles (N, 5), written with ``w >= h`` and the angle in ``[-pi/2, pi/2)``.

    Raises ValueError when a width or height is negative or anything is not finite.
    """
    boxes = _checked(boxes)
    out = boxes.copy()
    tall = boxes[:, 2] < boxes[:, 3]
    out[tall, 2], out[tall, 3] = boxes[tall, 3], boxes[tall, 2]
    out[:, 4] = np.mod(boxes[:, 4] + np.where(tall, np.pi, np.pi / 2), np.pi) - np.pi / 2
    out[out[:, 4] >= np.pi / 2, 4] = -np.pi / 2  # np.mod rounds tiny negative angles up to pi itself
    return out


def obb_to_corners(boxes: FloatArray) -> FloatArray:
    """(N, 5) boxes → (N, 4, 2) corners, clockwise on screen; at angle 0 they start at the top left."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 5)
    cos, sin = np.cos(boxes[:, 4])[:, None], np.sin(boxes[:, 4])[:, None]
    along = boxes[:, 2:3] / 2 * np.array([-1.0, 1.0, 1.0, -1.0])
    across = boxes[:, 3:4] / 2 * np.array([-1.0, -1.0, 1.0, 1.0])
    offsets = np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)
    return np.asarray(boxes[:, None, :2] + offsets)


def corners_to_obb(corners: FloatArray) -> FloatArray:
    """(N, 4, 2) corners → the canonical rectangles (N, 5) of smallest area that hold them.

    Exact for any four points: a smallest rectangle has a side along an edge of the convex hull (Freeman and
    Shapira, CACM 18(7), 1975), and the six lines through two of the points include every such edge.
    """
    corners = np.asarray(corners, np.float64).reshape(-1, 4, 2)
    origin = corners.mean(axis=1, keepdims=True)
    local = corners - origin
    first, second = (list(ends) for ends in zip(*combinations(range(4), 2), strict=True))
    lines = local[:, second] - local[:, first]
    length = np.hypot(lines[..., 0], lines[..., 1])
    angle = np.where(length > 0, np.arctan2(lines[..., 1], lines[..., 0]), 0.0)
    axes = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=-1).reshape(-1, 6, 2, 2)
    spans = np.einsum("nkad,npd->nkap", axes, local)
    low, high = spans.min(axis=-1), spans.max(axis=-1)
    area = np.where(length > 0, np.prod(high - low, axis=-1), np.inf)
    best = np.argmin(area, axis=1)
    rows = np.arange(len(corners))
    middle = np.einsum("nad,na->nd", axes[rows, best], (low + high)[rows, best] / 2)
    size = (high - low)[rows, best]
    return canonical_obb(np.column_stack([middle + origin[:, 0], size, angle[rows, best]]))


def obb_to_aabb(boxes: FloatArray) -> FloatArray:
    """(N, 5) boxes → the axis-aligned bounds (N, 4) as x0, y0, x1, y1."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 5)
    half = half_extents(boxes)
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def aabb_to_obb(bounds: FloatArray) -> FloatArray:
    """(N, 4) bounds x0, y0, x1, y1 → canonical boxes (N, 5) with angle 0 or -pi/2."""
    bounds = np.asarray(bounds, np.float64).reshape(-1, 4)
    low, high = bounds[:, :2], bounds[:, 2:]
    return canonical_obb(np.column_stack([(low + high) / 2, high - low, np.zeros(len(bounds))]))


def half_extents(boxes: FloatArray) -> FloatArray:
    """(N, 5) boxes → half the width and height (N, 2) of their axis-aligned bounds."""
    cos, sin = np.abs(np.cos(boxes[:, 4])), np.abs(np.sin(boxes[:, 4]))
    return np.column_stack([boxes[:, 2] * cos + boxes[:, 3] * sin, boxes[:, 2] * sin + boxes[:, 3] * cos]) / 2


def chip_to_lattice(boxes: FloatArray, window: Window) -> FloatArray:
    """Boxes (N, 5) in pixels of the chip that shows ``window`` → boxes in lattice pixels."""
    return np.asarray(boxes + np.array([window.x, window.y, 0.0, 0.0, 0.0]))


def lattice_to_chip(boxes: FloatArray, window: Window) -> FloatArray:
    """Boxes (N, 5) in lattice pixels → boxes in pixels of the chip that shows ``window``."""
    return np.asarray(boxes - np.array([window.x, window.y, 0.0, 0.0, 0.0]))


def lattice_to_scene(corners: FloatArray, lattice: Lattice) -> FloatArray:
    """Points (..., 2) in lattice pixels → scene pixels. Corners, because a box may become a parallelogram."""
    return np.asarray(corners * np.array([lattice.scale_x, lattice.scale_y]))


def scene_to_lattice(corners: FloatArray, lattice: Lattice) -> FloatArray:
    """Points (..., 2) in scene pixels → lattice pixels."""
    return np.asarray(corners / np.array([lattice.scale_x, lattice.scale_y]))


def near_inner_edge(boxes: FloatArray, window: Window, bounds: Window, margin_px: float = 2.0) -> BoolArray:
    """(N,) True where a corner of a box lies within ``margin_px`` of an inner side of ``window``, or beyond it.

    Boxes (N, 5), ``window`` and ``bounds`` share one frame. A side is inner when it is not a side of ``bounds``
    (the whole lattice): past an outer side there are no pixels, so nothing is cut there.
    """
    one = np.array([[window.x, window.y, window.x1, window.y1]])
    near: BoolArray = near_inner_edges(boxes, one, bounds, margin_px)[0]
    return near


def near_inner_edges(boxes: FloatArray, windows: IntArray, bounds: Window, margin_px: float) -> BoolArray:
    """(N, M) the same for M boxes and each of N ``windows`` (x, y, x1, y1)."""
    x0, y0, x1, y1 = obb_to_aabb(boxes).T
    left, top, right, bottom = (windows[:, k, None] for k in range(4))
    near = (left > bounds.x) & (x0 < left + margin_px) | (right < bounds.x1) & (x1 > right - margin_px)
    near |= (top > bounds.y) & (y0 < top + margin_px) | (bottom < bounds.y1) & (y1 > bottom - margin_px)
    return np.asarray(near, np.bool_)


def scaled(boxes: FloatArray, factor: float) -> FloatArray:
    """Boxes (N, 5) of a picture that is made ``factor`` times larger: all lengths grow, angles stay."""
    return boxes if factor == 1.0 else boxes * np.array([factor, factor, factor, factor, 1.0])


def intersection_area_pairs(a: FloatArray, b: FloatArray) -> FloatArray:
    """Areas (M,) common to ``a[i]`` and ``b[i]``, both (M, 5). Bit for bit the same with a and b exchanged.

    Raises ValueError when the shapes differ, a size is negative or anything is not finite.
    """
    a, b = _checked(a), _checked(b)
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


def _checked(boxes: FloatArray) -> FloatArray:
    boxes = np.ascontiguousarray(boxes, np.float64).reshape(-1, 5)
    if not np.isfinite(boxes).all() or (boxes[:, 2:4] < 0).any():
        raise ValueError("boxes must be finite with width and height >= 0")
    return boxes


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
