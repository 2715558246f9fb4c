"""Which pixels are valid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types import BoolArray, Scene


def any_channel(pixels: NDArray[Any], nodata: np.generic) -> BoolArray:
    """(H, W) True where any channel differs from ``nodata``: black in red alone is a colour, not a hole."""
    different: BoolArray = pixels[..., 0] != nodata
    for channel in range(1, pixels.shape[-1]):
        if different.all():
            break
        different |= pixels[..., channel] != nodata
    return different


def nodata_value(scene: Scene) -> np.generic | None:
    """The nodata value in the pixels' own type; None when there is none, or when no pixel can have it."""
    dtype = np.dtype(scene.dtype)
    if scene.nodata is None or np.isnan(scene.nodata):
        return None  # NaN is invalid anyhow
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if scene.nodata != int(scene.nodata) or not limits.min <= scene.nodata <= limits.max:
            return None
    with np.errstate(over="ignore"):
        value: np.generic = dtype.type(scene.nodata)
    return value
