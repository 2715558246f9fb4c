"""Spatial Attention Entropy and intensity of windows, from integral images (ViCrop-Det, arXiv 2604.26806)."""

from __future__ import annotations

import numpy as np

from pipeline.second_look.integral_images import cells_of, count, sums
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
    cells = cells_of(boxes, glance.tile, density.shape)
    intensity = sums(density, cells) / count(cells)
    return Windows(boxes=boxes, factor=factor, intensity=intensity, entropy=_entropy(density, cells))


def _density(attention: AttentionMap) -> FloatArray:
    """The map with mean 1, every cell holding at least FLOOR."""
    mass = attention.mass
    mean = mass.mean()
    return FLOOR + (mass / mean if mean > 0 else np.zeros_like(mass))


def _entropy(density: FloatArray, cells: IntArray) -> FloatArray:
    """H = log S - (sum a log a) / S inside each window, over log of its cells; 0 for a window of one cell."""
    total, number = sums(density, cells), count(cells)
    entropy = np.log(total) - sums(density * np.log(density), cells) / total
    normal: FloatArray = np.clip(entropy / np.log(np.maximum(number, 2)), 0, 1)
    return np.where(number > 1, normal, 0.0)
