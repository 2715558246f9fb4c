"""Oriented boxes and their representations. float64 throughout.

A box is ``(cx, cy, w, h, angle_rad)``: the rectangle of size w × h around its centre, turned by ``angle_rad``
clockwise on screen (y points down). Canonical boxes have ``w >= h`` and an angle in ``[-pi/2, pi/2)``.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from pipeline.types import FloatArray


def canonical_obb(boxes: FloatArray) -> FloatArray:
    """The same rectangles (N, 5), written with ``w >= h`` and the angle in ``[-pi/2, pi/2)``.

    Raises ValueError when a width or height is negative or anything is not finite.
    """
    boxes = checked(boxes)
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


def scaled(boxes: FloatArray, factor: float) -> FloatArray:
    """Boxes (N, 5) of a picture that is made ``factor`` times larger: all lengths grow, angles stay."""
    return boxes if factor == 1.0 else boxes * np.array([factor, factor, factor, factor, 1.0])


def mirrored(boxes: FloatArray, axes: tuple[bool, bool], *, width: float, height: float) -> FloatArray:
    """Canonical boxes (N, 5) as a picture of ``width`` x ``height`` shows them that was mirrored along x, along y.

    Exact: mirroring twice gives the same boxes, wherever ``width`` minus a coordinate is (centres far outside a picture
    lose last bits).
    """
    along_x, along_y = axes
    out = boxes.copy()
    if along_x:
        out[:, 0] = width - boxes[:, 0]
    if along_y:
        out[:, 1] = height - boxes[:, 1]
    if along_x != along_y:
        out[:, 4] = np.where(boxes[:, 4] == -np.pi / 2, boxes[:, 4], -boxes[:, 4])  # upright is upright in a mirror
    return out


def checked(boxes: FloatArray) -> FloatArray:
    """The boxes (N, 5), contiguous. Raises ValueError when a size is negative or anything is not finite."""
    boxes = np.ascontiguousarray(boxes, np.float64).reshape(-1, 5)
    if not np.isfinite(boxes).all() or (boxes[:, 2:4] < 0).any():
        raise ValueError("boxes must be finite with width and height >= 0")
    return boxes
