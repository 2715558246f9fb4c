"""Boxes and points from one frame to another (see :mod:`pipeline.types`), and what the sides of a window cut."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.obb import obb_to_aabb
from pipeline.types import BoolArray, FloatArray, IntArray, Lattice, Window


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
