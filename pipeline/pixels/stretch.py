"""Pixels of any type → 8 bit, by one linear map per band that is fixed once for the whole scene. numpy and numba only.

A map per tile would give one ship two brightnesses in two tiles; ``astype(uint8)`` would wrap 16-bit values.
Both are why this module exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RasterConfig
from pipeline.geometry.compiled import compiled
from pipeline.types import BoolArray, ByteArray, Scene, Stretch

LOOKUP_TYPES = ("uint8", "int8", "uint16", "int16")
"""Types with few enough values that a table of all of them is cheaper than arithmetic per pixel."""

WIDEST = 1e30
"""Ends of a stretch up to which float32 holds 255 times their distance."""


def fixed_stretch(dtype: str, channels: int, config: RasterConfig) -> Stretch | None:
    """The stretch that needs no look at the pixels, or None when the pixels have to be measured.

    8-bit scenes are left alone unless the configuration names a map itself (``fixed`` or ``minmax``).
    """
    if config.stretch == "fixed" and config.stretch_range is not None:
        low, high = config.stretch_range
        return Stretch(kind="fixed", low=(low,) * channels, high=(high,) * channels, source="config")
    if config.stretch == "none":
        return identity_stretch(channels, "config")
    if dtype == "uint8" and config.stretch == "percentile":
        return identity_stretch(channels, "8-bit pixels")
    return None


def identity_stretch(channels: int, source: str) -> Stretch:
    """Values stay as they are; those outside 0 to 255 are clipped, never wrapped."""
    return Stretch(kind="none", low=(0.0,) * channels, high=(255.0,) * channels, source=source)


def stretch_from_sample(pixels: NDArray[Any], valid: BoolArray, config: RasterConfig, source: str) -> Stretch:
    """Measure the stretch on a sample of a scene.

    ``pixels`` is (H, W, C) of any real type, ``valid`` (H, W, C): which values tell something of their band, or (H, W)
    for all bands alike. A band of one value becomes 0; a sample without a valid value yields the identity, because
    there is nothing to show and no reason to fail, and so does a band without one.
    """
    samples = channel_samples(pixels, valid)
    if not any(map(len, samples)):
        return identity_stretch(len(samples), f"{source}, which has no valid pixel")
    ends = [stretch_ends(sample, config) if len(sample) else (0.0, 255.0) for sample in samples]
    return Stretch(kind=config.stretch, low=tuple(a for a, _ in ends), high=tuple(b for _, b in ends), source=source)


def turned_over(stretch: Stretch, scene: Scene, config: RasterConfig) -> Stretch:
    """The stretch of a negative, whose white is stored as 0: its ends change places, where the user named none."""
    if not scene.negative or config.stretch in ("fixed", "none"):
        return stretch
    return replace(stretch, low=stretch.high, high=stretch.low, source=f"{stretch.source}, white is 0")


def channel_samples(pixels: NDArray[Any], valid: BoolArray) -> list[NDArray[Any]]:
    """The valid values of every channel; arguments as of :func:`stretch_from_sample`."""
    told = valid if valid.ndim == pixels.ndim else np.broadcast_to(valid[..., None], pixels.shape)
    return [pixels[..., channel][told[..., channel]] for channel in range(pixels.shape[-1])]


def stretch_ends(sample: NDArray[Any], config: RasterConfig) -> tuple[float, float]:
    """The values of one band that become 0 and 255, by its valid values: (N,), at least one."""
    if config.stretch == "minmax":
        low, high = float(sample.min()), float(sample.max())
    else:
        limits = (config.stretch_low_percent, config.stretch_high_percent)
        low, high = map(float, np.percentile(sample.astype(np.float64), limits))
    return low, high if high > low else max(low + 1.0, float(np.nextafter(low, np.inf)))


def is_identity_stretch(stretch: Stretch) -> bool:
    """True when the map leaves 0 to 255 as it is."""
    return all(low == 0.0 for low in stretch.low) and all(high == 255.0 for high in stretch.high)


def to_bytes(pixels: NDArray[Any], stretch: Stretch, valid: BoolArray | None = None) -> ByteArray:
    """(H, W, C) pixels of any real type → uint8: ``255 * (v - low) / (high - low)``, clipped, rounded half up.

    Pixels that are not ``valid`` (H, W) become 0; a NaN must be marked so. Raises ValueError when the stretch
    has another number of bands than ``pixels``.
    """
    if pixels.shape[-1] != len(stretch.low):
        raise ValueError(f"a stretch of {len(stretch.low)} bands cannot map pixels of {pixels.shape[-1]} bands")
    if pixels.dtype.name in LOOKUP_TYPES:
        out = _by_table(pixels, stretch)
    else:
        out = np.empty(pixels.shape, np.uint8)
        for channel, (low, high) in enumerate(zip(stretch.low, stretch.high, strict=True)):
            out[..., channel] = _linear(pixels[..., channel], low, high)
    if valid is not None and not valid.all():
        out[~valid] = 0
    return out


def darken(pixels: NDArray[Any], nodata: Sequence[np.generic | None], stretch: Stretch) -> None:
    """Make (H, W, C) ``pixels`` as dark as the stretch goes where a channel is silent, in place.

    ``nodata``: one value per channel, or none at all. Only for values above the stretch, which would be white, or so
    far below it that resampling would smear them over their neighbours.
    """
    for channel, value in enumerate(nodata):
        low, high = stretch.low[channel], stretch.high[channel]
        reach = min(low, high) - abs(high - low)
        if value is None or reach <= float(value) <= max(low, high):
            continue
        dark = pixels.dtype.type(np.floor(low) if pixels.dtype.kind in "iu" else low)
        band = pixels[..., channel]
        band[band == value] = dark


def _by_table(pixels: NDArray[Any], stretch: Stretch) -> ByteArray:
    if pixels.dtype == np.uint8 and is_identity_stretch(stretch):
        return pixels.copy()
    unsigned = pixels.view(f"u{pixels.dtype.itemsize}")
    tables = np.stack(stretch_tables(pixels.dtype, stretch.low, stretch.high))
    out = np.empty(pixels.shape, np.uint8)
    _look_up(np.ascontiguousarray(unsigned).reshape(-1, len(tables)), tables, out.reshape(-1, len(tables)))
    return out


def _look_up_python(values: NDArray[Any], tables: ByteArray, out: ByteArray) -> None:
    """``out[n, c] = tables[c, values[n, c]]``, in one pass over memory."""
    for n in range(values.shape[0]):
        for c in range(values.shape[1]):
            out[n, c] = tables[c, values[n, c]]


_look_up = compiled(_look_up_python)


def stretch_tables(dtype: np.dtype[Any], low: Sequence[float], high: Sequence[float]) -> list[ByteArray]:
    """One table per band: bit pattern of an integer pixel → byte. ``dtype`` has 8 or 16 bits."""
    values = np.arange(1 << (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)
    return [_linear(values.astype(np.float64), a, b) for a, b in zip(low, high, strict=True)]


def _linear(values: NDArray[Any], low: float, high: float) -> ByteArray:
    """float32 arithmetic is exact enough for 8 bits once the offset is gone; float64 input keeps its precision.

    Ends that float32 cannot be reckoned with, 255 times as large or as little apart, are reckoned with in float64.
    """
    far = max(abs(low), abs(high)) > WIDEST or abs(high - low) < 1 / WIDEST
    wide = far or values.dtype.itemsize > 4 or (values.dtype.kind in "iu" and values.dtype.itemsize == 4)
    work: NDArray[Any] = values.astype(np.float64 if wide else np.float32)
    if max(abs(low), abs(high)) > WIDEST:  # a power of two changes no digit, and 255 times the largest is finite
        low, high, work = low * 2.0**-64, high * 2.0**-64, work * 2.0**-64
    with np.errstate(invalid="ignore", over="ignore"):
        np.subtract(work, low, out=work)
        np.multiply(work, 255.0, out=work)
        np.divide(work, high - low, out=work)
        np.add(work, 0.5, out=work)
        np.clip(np.nan_to_num(work, copy=False, nan=0.0), 0.0, 255.0, out=work)
    bytes_: ByteArray = work.astype(np.uint8)
    return bytes_
