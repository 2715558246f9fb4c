"""Which share of the objects is found, by anything that has a number for every object: its size, its way to a seam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, inf, log2, sqrt

import numpy as np

from pipeline.evaluation.errors.kinds import Judgement
from pipeline.types import FloatArray

NORMAL_95 = 1.959964
"""Standard deviations of the normal distribution that hold 95 % of it, on both sides."""
MOST_OCTAVES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The objects whose number lies in [low, high), and how many of them were found."""

    low: float
    high: float
    """May be infinite."""
    objects: int
    found: int

    @property
    def recall(self) -> float:
        return self.found / self.objects

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the recall for objects drawn one by one (Wilson 1927)."""
        z, n, share = NORMAL_95, self.objects, self.recall
        middle, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def recall_in_bands(
    judgement: Judgement, numbers: FloatArray, limits: Sequence[float], score_threshold: float
) -> tuple[Band, ...]:
    """The bands between neighbouring ``limits`` that hold an object; ``numbers`` (A,), NaN where one is not known."""
    found = ~judgement.unfound(score_threshold)
    bands = []
    for low, high in pairwise(limits):
        inside = judgement.wanted & (numbers >= low) & (numbers < high)
        if inside.any():
            objects, hits = int(inside.sum()), int((inside & found).sum())
            bands.append(Band(low=low, high=high, objects=objects, found=hits))
    return tuple(bands)


def octaves(numbers: FloatArray) -> tuple[float, ...]:
    """Powers of two that enclose all positive numbers (N,); the outer bands are wider where there would be more than
    MOST_OCTAVES. Empty without numbers."""
    known = numbers[np.isfinite(numbers) & (numbers > 0)]
    if not len(known):
        return ()
    first, last = floor(log2(known.min())), ceil(log2(known.max() * (1 + 1e-9)))
    last = max(last, first + 1)
    first = max(first, last - MOST_OCTAVES)
    powers = tuple(2.0**power for power in range(first, last + 1))
    return powers if known.min() >= powers[0] else (0.0, *powers[1:])


def labelled(band: Band) -> str:
    """``16–32``, or ``64 +``."""
    return f"{band.low:g} +" if band.high == inf else f"{band.low:g}–{band.high:g}"
