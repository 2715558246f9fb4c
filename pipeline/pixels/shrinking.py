"""Chips shrunk for a look, and how much of a whole look a crop is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.pixels.resampling import resample
from pipeline.types import Chip, Lattice, Window


def shrunk(chip: Chip, factor: float) -> Chip:
    """The chip as the global look sees it: ``factor`` times smaller, through the project's one resampler."""
    if factor == 1.0:
        return chip
    height, width = chip.pixels.shape[:2]
    small = Lattice(
        width=max(1, round(width / factor)),
        height=max(1, round(height / factor)),
        scale_x=factor,
        scale_y=factor,
        gsd_m=None,
    )
    source = Window(x=0, y=0, width=width, height=height)
    valid = np.ones((height, width), np.bool_)
    pixels, _ = resample(chip.pixels, valid, source, small.window, small, width, height)
    return Chip(pixels=np.rint(pixels).astype(np.uint8), window=chip.window)


def as_part(crop: Chip, whole: Chip) -> Chip:
    """The crop, knowing how much it is of the picture that the global look saw."""
    return replace(crop, share=min(1.0, crop.pixels.size / whole.pixels.size))
