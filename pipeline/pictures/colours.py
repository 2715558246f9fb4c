"""The colour of a score, in pictures and in styles."""

from __future__ import annotations

import colorsys

import numpy as np

Colour = tuple[int, int, int]

SCORE_COLOURS = ("#bd3786", "#d8576b", "#ed7953", "#fb9f3a", "#fdca26", "#f0f921")
"""From the lowest score to 1: the upper part of matplotlib's plasma (CC0). Its lightness rises steadily, so it reads
without colour vision too, and it has neither the blues of water nor the greens and greys of land."""


def score_colour(score: float, low: float) -> Colour:
    """The colour of a score between ``low`` and 1, linearly between :data:`SCORE_COLOURS`."""
    position = min(max((score - low) / (1 - low), 0.0), 1.0) * (len(SCORE_COLOURS) - 1)
    index = min(int(position), len(SCORE_COLOURS) - 2)
    first, second = (np.array(_rgb(SCORE_COLOURS[index + step])) for step in (0, 1))
    red, green, blue = np.rint(first + (second - first) * (position - index)).astype(int).tolist()
    return red, green, blue


CLASS_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Okabe and Ito's (2008), which people without full colour vision tell apart too."""


def class_colour(class_id: int) -> Colour:
    """The colour of a class: the same in every scene of a model. Beyond the seventh, hues spread over the circle."""
    if class_id < len(CLASS_COLOURS):
        return _rgb(CLASS_COLOURS[class_id])
    lightness = (0.45, 0.62, 0.78)[class_id % 3]
    red, green, blue = colorsys.hls_to_rgb(class_id * 0.618034 % 1.0, lightness, 0.8)
    return round(red * 255), round(green * 255), round(blue * 255)


def _rgb(hexadecimal: str) -> Colour:
    return int(hexadecimal[1:3], 16), int(hexadecimal[3:5], 16), int(hexadecimal[5:7], 16)
