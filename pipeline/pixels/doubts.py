"""What makes a stretch or a mask doubtful, told from samples of pixels. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RasterConfig
from pipeline.pixels.stretch import stretch_ends
from pipeline.types import FloatArray

LOOKED_AT = 200_000
"""Most values of a band that are looked at."""
REPEATED = 0.002
"""Share of a band from which an extreme value that repeats may be fill."""
COSTS = 0.9
"""Fill leaves the stretch of the other values less than this share of the measured one."""
FEW = 16
"""So few different values are classes or steps, and their extremes no fill."""
CROWDED = 0.02
"""Nine values of ten lie in less than this share of the stretch: they are nearly one shade."""
TRANSLUCENT = 0.05
"""Share of an alpha band between clear and opaque that no edge of a picture explains."""


def stretch_doubts(
    samples: Sequence[NDArray[Any]], bands: Sequence[int], config: RasterConfig, where: str
) -> list[str]:  # fmt: skip
    """Sentences on a stretch that was measured on ``samples``: the valid values of each of ``bands``.

    An extreme value that repeats and takes the stretch from all others is fill that nobody declared; without one,
    values that crowd into a corner of the stretch are told of. ``where``: what the sample is.
    """
    fills: dict[float, dict[int, float]] = {}
    doubts = []
    told = [band for band, sample in zip(bands, samples, strict=True) if not len(sample)]
    if told:
        doubts.append(f"{_named(told)} no valid value in its sample ({where}) and is shown unstretched")
    for band, values in {band: _few(sample) for band, sample in zip(bands, samples, strict=True)}.items():
        rest, found = values, len(values) > 0
        while found:
            found, rest = _without_fill(rest, config, fills, band, len(values))
        if len(rest) == len(values) > 0 and (said := _crowded(values, band, config)):
            doubts.append(said)
    for fill, shares in fills.items():
        value = f"{int(fill)}" if fill == int(fill) and abs(fill) < 1e15 else repr(fill)
        doubts.append(
            f"{100 * max(shares.values()):.2g} % of {_named(list(shares), verb=None)} is exactly {value}, apart from "
            f"all other values, so the stretch leaves those too few shades; if it means no data, add --raster.nodata "
            f"{value}"
        )
    return doubts


def alpha_doubt(values: NDArray[Any], band: int) -> str | None:
    """A sentence on an alpha band whose sampled ``values`` look like those of an image; None where they do not."""
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not len(values):
        return None
    between = float(((values > 0) & (values < values.max())).mean())
    different = len(np.unique(values))
    if between < TRANSLUCENT or different < FEW:
        return None
    return (
        f"band {band} is flagged as alpha and looks like an image: {100 * between:.2g} % of it is neither clear nor "
        f"opaque ({different} different values); where it is 0 ({100 * float((values <= 0).mean()):.2g} %), pixels are "
        f"taken for holes; if it is an image band, such as near infrared, add --raster.mask none"
    )


def _few(sample: NDArray[Any]) -> FloatArray:
    if len(sample) > LOOKED_AT:
        sample = sample[np.random.default_rng(0).integers(0, len(sample), LOOKED_AT)]
    few: FloatArray = sample.astype(np.float64)
    return few


def _without_fill(
    values: FloatArray, config: RasterConfig, fills: dict[float, dict[int, float]], band: int, whole: int
) -> tuple[bool, FloatArray]:
    """Whether an end of ``values`` is fill, which is then noted in ``fills``, and the values without it."""
    low, high = stretch_ends(values, config)
    for end in (float(values.min()), float(values.max())):
        same = values == end
        others = values[~same]
        if same.sum() < REPEATED * whole or len(np.unique(others)) < FEW:
            continue
        own_low, own_high = stretch_ends(others, config)
        if own_high - own_low < COSTS * (high - low):
            fills.setdefault(end, {})[band] = float(same.sum()) / whole
            return True, others
    return False, values


def _crowded(values: FloatArray, band: int, config: RasterConfig) -> str | None:
    low, high = stretch_ends(values, config)
    first, last = map(float, np.percentile(values, (5, 95)))
    if not 0 < last - first < CROWDED * (high - low):
        return None
    return (
        f"nine values of ten of band {band} lie between {first:.6g} and {last:.6g}, and its stretch reaches from "
        f"{low:.6g} to {high:.6g}: they become nearly one shade; if outliers or fill are the cause, add "
        f"--raster.nodata with the fill value, or --raster.stretch fixed --raster.stretch_range with the values to show"
    )


def _named(bands: Sequence[int], verb: str | None = "has") -> str:
    unique = list(dict.fromkeys(bands))
    if len(unique) == 1:
        return f"band {unique[0]}" + (f" {verb}" if verb else "")
    plural = {"has": " have", None: ""}[verb]
    return f"bands {', '.join(map(str, unique[:-1]))} and {unique[-1]}{plural}"
