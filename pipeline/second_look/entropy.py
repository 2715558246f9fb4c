"""Spatial Attention Entropy and intensity of windows, from integral images (ViCrop-Det, arXiv 2604.26806)."""

from __future__ import annotations

import numpy as np

from pipeline.second_look.windows import Glance, Windows
from pipeline.types import AttentionMap, FloatArray, IntArray

FLOOR = 1e-6
"""The paper's epsilon, as a share of the mean of a map: what an empty cell holds. Ours."""


def spatial_attention_entropy(attention: AttentionMap) -> float:
    """SAE of a whole map (the paper's): -sum p log p / log N, 0 to 1, over the mass inside the chip."""
    whole = np.array([[0, 0, attention.mass.shape[1], attention.mass.shape[0]]])
    return float(_entropy(_density(attention), whole)[0])


def measured_windows(glance: Glance, boxes: IntArray, factor: float = 1.0) -> Windows:
    """Intensity and entropy of every window, each in O(1) from integral images; crops will be shrunk by ``factor``.

    Intensity is the paper's m(w) on a map whose mean is 1. The entropy is taken over the map inside the window,
    renormalised there, over log(cells of the window), so that scales compare; the paper leaves this open.
    """
    if glance.attention is None:
        unknown = np.full(len(boxes), np.nan)
        return Windows(boxes=boxes, factor=factor, intensity=np.zeros(len(boxes)), entropy=unknown)
    density = _density(glance.attention)
    rows, columns = density.shape
    scale = np.array([columns / glance.tile.width, rows / glance.tile.height] * 2)
    origin = np.array([glance.tile.x, glance.tile.y] * 2)
    cells = np.rint((boxes - origin) * scale).astype(np.int64)
    cells[:, 2:] = np.maximum(cells[:, 2:], cells[:, :2] + 1)
    mass = _sums(density, cells)
    entropy = _entropy(density, cells)
    return Windows(boxes=boxes, factor=factor, intensity=mass / _cells(cells), entropy=entropy)


def _density(attention: AttentionMap) -> FloatArray:
    """The map with mean 1, every cell holding at least FLOOR."""
    mass = attention.mass
    mean = mass.mean()
    return FLOOR + (mass / mean if mean > 0 else np.zeros_like(mass))


def _entropy(density: FloatArray, cells: IntArray) -> FloatArray:
    """H = log S - (sum a log a) / S inside each window, over log of its cells; 0 for a window of one cell."""
    total = _sums(density, cells)
    count = _cells(cells)
    entropy = np.log(total) - _sums(density * np.log(density), cells) / total
    normal: FloatArray = np.clip(entropy / np.log(np.maximum(count, 2)), 0, 1)
    return np.where(count > 1, normal, 0.0)


def _cells(cells: IntArray) -> FloatArray:
    return ((cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])).astype(np.float64)


def _sums(values: FloatArray, cells: IntArray) -> FloatArray:
    """(N,) sums over cell windows (x, y, x1, y1), from an integral image."""
    integral = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    integral[1:, 1:] = values.cumsum(0).cumsum(1)
    x, y, x1, y1 = cells.T
    sums: FloatArray = integral[y1, x1] - integral[y, x1] - integral[y1, x] + integral[y, x]
    return sums
