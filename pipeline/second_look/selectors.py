"""What the choice of crops goes by: each selector predicts the gain of looking at a window again.

The controls that any claim of the second look has to beat stand beside the paper's score and our own: two
independent studies found that plain densities of detections choose as well as anything cleverer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pipeline.config import RefineConfig
from pipeline.second_look.integral_images import cells_of, count, sums
from pipeline.second_look.windows import SMALL_PX, Gain, Glance, Windows, centres_inside, shown_whole
from pipeline.types import FloatArray, IntArray

NEEDS_ATTENTION = frozenset({"sae", "intensity", "entropy"})
"""Selectors that cannot work without an attention map; ``density`` stands in for them."""

NEEDS_DIFFERENCE = frozenset({"difference"})
"""The same of difference maps."""

FLAT = 1e-9
"""Values that differ by less, relative to their mean, are equal but for rounding."""

BLIND = frozenset({"random", "uniform"})
"""Selectors that look at nothing. For all others the entropy of the crops is measured and recorded."""


TileGain = Callable[[Glance, Windows], FloatArray]
"""The gain of each window of one tile, on a scale that is the same for every tile."""


def gain_of(config: RefineConfig) -> Gain:
    """The gain function of ``config.selector``. Raises KeyError for ``none``, which has none."""
    gains: dict[str, Gain] = {
        "sae": sae_gain,
        "intensity": intensity_gain,
        "entropy": entropy_gain,
        "difference": difference_gain,
        "density": of_each_tile(density_gain),
        "small_box_density": of_each_tile(small_box_density_gain),
        "random": of_each_tile(partial(random_gain, config.seed)),
        "uniform": of_each_tile(uniform_gain),
        "ours": of_each_tile(promise_gain),
    }
    return gains[config.selector]


def of_each_tile(gain: TileGain) -> Gain:
    """The gain of a block's windows, where that of a tile needs to know of no other tile."""

    def of_block(glances: Sequence[Glance], windows: Sequence[Windows]) -> FloatArray:
        return np.concatenate([gain(*pair) for pair in zip(glances, windows, strict=True)])

    return of_block


def sae_gain(_: Sequence[Glance], windows: Sequence[Windows]) -> FloatArray:
    """The paper's sigma(w) = m(w) · SAE(w), ranked within each scale (ours: else the smallest always wins)."""
    return _within_scale([part.intensity * part.entropy for part in windows], windows)


def intensity_gain(_: Sequence[Glance], windows: Sequence[Windows]) -> FloatArray:
    """m(w) alone, within each scale."""
    return _within_scale([part.intensity for part in windows], windows)


def entropy_gain(_: Sequence[Glance], windows: Sequence[Windows]) -> FloatArray:
    """SAE(w) alone, within each scale."""
    return _within_scale([part.entropy for part in windows], windows)


def difference_gain(glances: Sequence[Glance], windows: Sequence[Windows]) -> FloatArray:
    """Ours: what the network could not draw again in the window, per pixel, within each scale; nobody has published it.

    Unlike attention it does not depend on whether the first look saw anything there.
    """
    return _within_scale([_mean_difference(*pair) for pair in zip(glances, windows, strict=True)], windows)


def density_gain(glance: Glance, windows: Windows) -> FloatArray:
    """Detections of the global look, sure and unsure, per pixel."""
    return _sum_inside(np.ones(len(glance.detections)), glance, windows) / windows.pixels


def small_box_density_gain(glance: Glance, windows: Windows) -> FloatArray:
    """The same, of small ones only."""
    return _sum_inside((_size_seen(glance) < SMALL_PX).astype(np.float64), glance, windows) / windows.pixels


def random_gain(seed: int, glance: Glance, windows: Windows) -> FloatArray:
    """Any windows; the same ones for the same seed and tile."""
    random = np.random.default_rng([seed, glance.tile.x, glance.tile.y])
    gain: FloatArray = 1.0 - random.random(len(windows.boxes))
    return gain


def uniform_gain(glance: Glance, windows: Windows) -> FloatArray:
    """Windows of the smallest size on a grid without overlap; every beginning of their order is spread evenly.

    The order is that of ordered dithering (Bayer, 1973). It starts at another window in every tile.
    """
    sides = windows.boxes[:, 2:] - windows.boxes[:, :2]
    if not len(sides):
        return np.zeros(0)
    side = sides.min(axis=0)
    place = windows.boxes[:, :2] - (glance.tile.x, glance.tile.y)
    last = np.array([glance.tile.width, glance.tile.height]) - side
    on_grid = ((place % side == 0) | (place == last)).all(axis=1) & (sides == side).all(axis=1)
    x, y = (-(-place // side) + np.array([glance.tile.x, glance.tile.y]) // side).T
    return np.where(on_grid, 1.0 - _reversed_bits(x ^ y) - _reversed_bits(y) / 2, 0.0)


def promise_gain(glance: Glance, windows: Windows) -> FloatArray:
    """Ours: how undecided the detector is about what it saw in the window, small things first, per pixel.

    A detection of score s counts (4 s (1 - s))²: one when it may as well be an object as not, next to nothing near 0
    or 1. Squared, because what a second look added to scores on held-out images falls off that fast on both sides; many
    boxes on one thing count each, as they are a sign of indecision too. A detection that was large in the global look
    has little to gain from more pixels: its share falls as (16 px / size)². What the crop would show cut, or too large
    for it, does not count: it is left to the global look anyway.
    """
    scores = glance.detections.scores
    share = np.minimum(1.0, (SMALL_PX / np.maximum(_size_seen(glance), 1.0)) ** 2)
    boxes = glance.detections.boxes
    counted = centres_inside(boxes, windows.boxes) & shown_whole(boxes, windows.boxes, glance.tile, windows.factor)
    gain: FloatArray = (counted * (4 * scores * (1 - scores)) ** 2 * share).sum(axis=1) / windows.pixels
    return gain


def _mean_difference(glance: Glance, windows: Windows) -> FloatArray:
    """(N,) mean of the difference map in each window; zero without a map."""
    if glance.difference is None:
        return np.zeros(len(windows.boxes))
    values = glance.difference.values
    cells = cells_of(windows.boxes, glance.tile, values.shape)
    return sums(values, cells) / count(cells)


def _size_seen(glance: Glance) -> FloatArray:
    """(N,) root of the area of each detection in pixels of the global look."""
    size: FloatArray = np.sqrt(glance.detections.boxes[:, 2] * glance.detections.boxes[:, 3]) / glance.factor
    return size


def _sum_inside(values: FloatArray, glance: Glance, windows: Windows) -> FloatArray:
    """(N,) sum of the detections' ``values`` whose centres lie in each window."""
    total: FloatArray = (centres_inside(glance.detections.boxes, windows.boxes) * values).sum(axis=1)
    return total


def _within_scale(values: Sequence[FloatArray], windows: Sequence[Windows]) -> FloatArray:
    """exp of the z-score among the block's windows of the same size: positive, and comparable between sizes."""
    value = np.concatenate(values)
    sizes = np.concatenate([part.pixels for part in windows])
    gain = np.ones(len(value))
    for size in np.unique(sizes):
        same = sizes == size
        mean, spread = value[same].mean(), value[same].std()
        if spread > FLAT * abs(mean):
            gain[same] = np.exp((value[same] - mean) / spread)
    return gain


def _reversed_bits(number: IntArray) -> FloatArray:
    """Bit k of a number counts 1/2 · 4^-k: with a second number at half the weight, a reversed Morton code below 1."""
    result, part = np.zeros(len(number)), 0.5
    rest = number.copy()
    while rest.any():
        result += part * (rest & 1)
        rest >>= 1
        part /= 4
    return result
