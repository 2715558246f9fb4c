"""What makes a row of the detections table: its place in the order, its id, and how many digits it keeps.

Pure numpy over whole columns; a million rows take about a second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types import FloatArray, IntArray


def curve_order(points: FloatArray, ids: NDArray[np.uint64]) -> IntArray:
    """Rows along the Hilbert curve; ids settle the order of points in one cell, so arrival settles nothing."""
    index = hilbert_index(points).astype(np.uint64)
    keys = (index << np.uint64(32)) | (ids >> np.uint64(32))
    order = np.argsort(keys)  # one key sorts five times faster than two
    if (np.diff(keys[order]) == 0).any():
        order = np.lexsort((ids, index))
    return order


def hilbert_index(points: FloatArray, order: int = 16) -> IntArray:
    """Position of (N, 2) points along the Hilbert curve of 2**order cells a side over their own extent.

    The classic bit-by-bit walk (Hilbert 1891; Lam & Shapiro 1994), all points at once.
    """
    if not len(points):
        return np.zeros(0, np.int64)
    low = points.min(axis=0)
    extent = max(float((points.max(axis=0) - low).max()), np.finfo(np.float64).tiny)
    cells = np.minimum((points - low) / extent * (1 << order), (1 << order) - 1).astype(np.uint32)
    return _along_curve(cells, order)


def earth_index(lon: FloatArray, lat: FloatArray, order: int = 24) -> IntArray:
    """Position of places, degrees, along one Hilbert curve for the whole Earth: the same whatever else there is.

    Its cells are 2.4 m at the equator.
    """
    cells = np.stack([lon + 180, lat + 90], axis=-1) / 360 * (1 << order)
    return _along_curve(np.clip(cells, 0, (1 << order) - 1).astype(np.uint32), order)


def _along_curve(cells: NDArray[np.uint32], order: int) -> IntArray:
    """(N, 2) cells of a grid of 2**order a side → their places along the curve."""
    x, y = cells[:, 0].copy(), cells[:, 1].copy()
    index: NDArray[Any] = np.zeros(len(cells), np.uint32 if order <= 16 else np.uint64)
    for bit in range(order - 1, -1, -1):
        right, upper = (x >> bit) & 1, (y >> bit) & 1
        index = (index << 2) | ((3 * right) ^ upper)
        # In the two lower quadrants the curve is transposed, in the right one also mirrored.
        mirror = np.where((upper == 0) & (right == 1), np.uint32((1 << bit) - 1), np.uint32(0))
        x, y = x ^ mirror, y ^ mirror
        swap = upper == 0
        x, y = np.where(swap, y, x), np.where(swap, x, y)
    return index.astype(np.int64)


def content_ids(px: FloatArray, class_ids: IntArray, names: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit hash per row of its box (``px`` (5, N)), its class and ``names`` (the scene's, the model's).

    Equal rows are told apart by counting. The seed is SHA-256; rows are mixed in with the finaliser of SplitMix64
    (Steele, Lea & Flood 2014): a million rows take a fraction of a second. Expected collisions among a million:
    3e-8; those too are resolved, so ids are unique in a table.
    """
    seed = hashlib.sha256(json.dumps(list(names)).encode()).digest()
    ids = np.full(px.shape[1], int.from_bytes(seed[:8], "big"), np.uint64)
    for column in (class_ids.astype(np.uint64), *(px + 0.0).view(np.uint64)):
        ids = _mix(ids ^ column)
    while len(unique := np.unique(ids, return_index=True)[1]) < len(ids):
        repeated = np.ones(len(ids), np.bool_)
        repeated[unique] = False
        ids[repeated] = _mix(ids[repeated])
    return ids


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def round_bits(values: FloatArray, bits: int) -> FloatArray:
    """Float64 rounded to ``bits`` of mantissa: relative error <= 2**-(bits + 1), and trailing zeros that compress."""
    mantissa, exponent = np.frexp(values)
    rounded: FloatArray = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded


def round_to(values: FloatArray, step: float) -> FloatArray:
    """Float64 rounded to multiples of ``step``, a power of two."""
    rounded: FloatArray = np.rint(values * (1 / step)) * step
    return rounded


def round_corners(corners: FloatArray, px_boxes: FloatArray) -> FloatArray:
    """World corners to within 2**-14 of a pixel: digits below that are noise, and make half the file.

    Each row's step follows from its own size in world units and in pixels, so no row depends on another.
    """
    across, down = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    area_world = np.abs(across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]) / 2
    area_px = np.maximum(px_boxes[:, 2] * px_boxes[:, 3], 1e-12)
    _, exponent = np.frexp(np.sqrt(area_world / area_px))
    step = np.ldexp(1.0, np.maximum(exponent - 14, -1000))[:, None, None]
    rounded: FloatArray = np.rint(corners * (1 / step)) * step
    return rounded


def counter_clockwise(corners: FloatArray) -> FloatArray:
    """Rings with positive area in a frame whose y points up; the first corner stays first."""
    diagonals = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    clockwise = diagonals[0][:, 0] * diagonals[1][:, 1] < diagonals[0][:, 1] * diagonals[1][:, 0]
    turned = corners.copy()
    turned[clockwise] = corners[clockwise][:, [0, 3, 2, 1]]
    return turned
