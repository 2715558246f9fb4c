"""THE rule of validity: which pixels of a scene show something, and which are holes. numpy only.

A pixel is a hole where

- any of its channels is NaN or infinite;
- all of its channels are the nodata value (black in red alone is a colour); of a palette image, where its number is;
- an internal mask or an alpha band of any of the scene's files is zero, or NaN.

Everything else is valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types import BoolArray, Scene


def may_be_invalid(scene: Scene, *, masked: bool) -> bool:
    """False when every pixel of the scene is valid by construction. ``masked``: with a mask or an alpha band."""
    return masked or nodata_value(scene) is not None or np.dtype(scene.dtype).kind == "f"


def valid_pixels(
    pixels: NDArray[Any], nodata: np.generic | None, numbers: NDArray[Any] | None = None,
    masks: Iterable[NDArray[Any]] = (),
) -> BoolArray:  # fmt: skip
    """(H, W) True where no rule says otherwise, of (H, W, C) ``pixels`` in their own type.

    ``nodata`` as from :func:`nodata_value`; ``numbers`` (H, W) are those that a palette image has in place of colours;
    ``masks`` (H, W) are masks and alpha bands of any type, taken one at a time.
    """
    valid: BoolArray = np.ones(pixels.shape[:2], np.bool_)
    if pixels.dtype.kind == "f":
        for channel in range(pixels.shape[-1]):
            valid &= np.isfinite(pixels[..., channel])
    if nodata is not None:
        valid &= _any_channel(pixels if numbers is None else numbers[..., None], nodata)
    for mask in masks:
        valid &= mask > 0
    return valid


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


def _any_channel(pixels: NDArray[Any], nodata: np.generic) -> BoolArray:
    """(H, W) True where any channel differs from ``nodata``."""
    different: BoolArray = pixels[..., 0] != nodata
    for channel in range(1, pixels.shape[-1]):
        if different.all():
            break
        different |= pixels[..., channel] != nodata
    return different
