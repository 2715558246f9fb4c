"""Masks of open files: of a whole file, of single bands, and alpha bands. The rule: pipeline/pixels/validity.py."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags


def has_mask(dataset: Any) -> bool:
    """True when an internal mask or an alpha band says which pixels are valid."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0] or ColorInterp.alpha in dataset.colorinterp


def alpha_band(dataset: Any) -> int | None:
    """The alpha band that says which pixels are valid, counted from 1; None where there is none, or a mask of the file
    comes before it."""
    flags = dataset.mask_flag_enums[0]
    if ColorInterp.alpha not in dataset.colorinterp or (
        MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
    ):
        return None
    return int(dataset.colorinterp.index(ColorInterp.alpha)) + 1


def masked_alone(dataset: Any, band: int) -> bool:
    """True when the band, counted from 1, has a mask of its own, which says nothing of the others."""
    return not dataset.mask_flag_enums[band - 1]


def read_mask(dataset: Any, **options: Any) -> NDArray[Any]:
    """(H, W) internal mask or alpha band, as stored. GDAL takes alpha for a mask only among two or four bands."""
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        mask: NDArray[Any] = dataset.read_masks(1, **options)
    else:
        mask = dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1, **options)
    return mask
