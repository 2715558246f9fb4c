"""The colour of a score, in pictures and in styles."""

from __future__ import annotations

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


def _rgb(hexadecimal: str) -> Colour:
    return int(hexadecimal[1:3], 16), int(hexadecimal[3:5], 16), int(hexadecimal[5:7], 16)
