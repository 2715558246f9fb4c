"""THE rule of validity: which pixels of a scene show something, and which are holes. numpy only.

A channel is silent at a pixel where its value is the nodata value of its band, or where a mask of that band alone is
zero. A pixel is a hole where

- any of its channels is NaN or infinite;
- all of its channels are silent (black in red alone is a colour); of a palette image, where its number is nodata;
- a mask or an alpha band that stands for a whole file, any of the scene's, is zero, or NaN; of a palette image, where
  its colour is transparent.

Everything else is valid. What is measured of a channel, its stretch, leaves out holes and where the channel is silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types import BoolArray, Scene

Nodata = tuple[np.generic | None, ...]
"""One value per channel, in the pixels' own type; empty where no channel has one."""


def may_be_invalid(scene: Scene, *, masked: bool) -> bool:
    """False when every pixel of the scene is valid by construction. ``masked``: with a mask or an alpha band."""
    numbers = "float64" if scene.palette else None  # any number, as far as the scene knows
    return masked or bool(nodata_values(scene, numbers)) or np.dtype(scene.dtype).kind == "f"


def valid_pixels(
    pixels: NDArray[Any], nodata: Nodata = (), numbers: NDArray[Any] | None = None,
    masks: Iterable[NDArray[Any]] = (), band_masks: Sequence[NDArray[Any] | None] = (),
) -> BoolArray:  # fmt: skip
    """(H, W) True where no rule says otherwise, of (H, W, C) ``pixels`` in their own type.

    ``nodata`` as from :func:`nodata_values`; ``numbers`` (H, W) are those that a palette image has in place of colours;
    ``masks`` (H, W) are masks and alpha bands of any type, taken one at a time; ``band_masks`` are those of single
    bands, one per channel or None.
    """
    valid: BoolArray = np.ones(pixels.shape[:2], np.bool_)
    if pixels.dtype.kind == "f":
        for channel in range(pixels.shape[-1]):
            valid &= np.isfinite(pixels[..., channel])
    if nodata or band_masks:
        valid &= _any(speaking(pixels, nodata, numbers, band_masks))
    for mask in masks:
        valid &= mask > 0
    return valid


def speaking(
    pixels: NDArray[Any], nodata: Nodata, numbers: NDArray[Any] | None = None,
    band_masks: Sequence[NDArray[Any] | None] = (),
) -> Iterator[BoolArray]:  # fmt: skip
    """(H, W) for one channel after the other: False where it is silent. Arguments as of :func:`valid_pixels`."""
    for channel in range(pixels.shape[-1]):
        says: BoolArray = np.ones(pixels.shape[:2], np.bool_)
        if nodata and nodata[channel] is not None:
            says = (pixels[..., channel] if numbers is None else numbers) != nodata[channel]
        mask = band_masks[channel] if band_masks else None
        yield says if mask is None else says & (mask > 0)


def nodata_values(scene: Scene, dtype: str | None = None) -> Nodata:
    """The nodata value of every channel; empty when no pixel can have one.

    ``dtype``: of the numbers of a palette image, which need not be the type of its colours.
    """
    declared = scene.band_nodata or (scene.nodata,) * len(scene.bands)
    values = tuple(_typed(value, np.dtype(dtype or scene.dtype)) for value in declared)
    return values if any(value is not None for value in values) else ()


def _typed(value: float | None, dtype: np.dtype[Any]) -> np.generic | None:
    """The value as such a pixel has it; None when there is none, or when no pixel can have it."""
    if value is None or np.isnan(value):
        return None  # NaN is invalid anyhow
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max or value != int(value):
            return None
    with np.errstate(over="ignore"):
        typed: np.generic = dtype.type(value)
    return typed


def _any(channels: Iterator[BoolArray]) -> BoolArray:
    """(H, W) True where any channel is."""
    says = next(channels)
    for other in () if says.all() else channels:
        says |= other
        if says.all():
            break
    return says
