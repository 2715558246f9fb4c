"""Boxes as arrays."""

from __future__ import annotations

import math

import numpy as np

from pipeline.types import BoolArray, FloatArray


def boxes(*rows: tuple[float, ...]) -> FloatArray:
    return np.array(rows, np.float64).reshape(-1, 5)


def degrees(*row: float) -> tuple[float, ...]:
    return (*row[:4], math.radians(row[4]))


def inside(box: FloatArray, x: FloatArray, y: FloatArray, shrink: float = 1.0) -> BoolArray:
    """Which points lie in one box, shrunk (or grown) by a factor."""
    cos, sin = math.cos(box[4]), math.sin(box[4])
    u, v = (x - box[0]) * cos + (y - box[1]) * sin, (y - box[1]) * cos - (x - box[0]) * sin
    return (np.abs(u) < box[2] / 2 * shrink) & (np.abs(v) < box[3] / 2 * shrink)
