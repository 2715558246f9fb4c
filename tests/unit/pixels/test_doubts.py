"""Stretches and alpha bands look at themselves: fill nobody declared, values in a corner, images flagged as alpha."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import RasterConfig
from pipeline.pixels.doubts import alpha_doubt, stretch_doubts

RNG = np.random.default_rng(3)
LAND = RNG.normal(2000, 400, 40_000)


def doubts(*samples: np.ndarray, stretch: RasterConfig | None = None) -> str:
    return " | ".join(stretch_doubts(samples, range(1, len(samples) + 1), stretch or RasterConfig(), "all pixels"))


def with_fill(values: np.ndarray, fill: float, share: float, dtype: str) -> np.ndarray:
    filled = values.copy()
    filled[: int(share * len(values))] = fill
    return filled.astype(dtype)


@pytest.mark.parametrize("share", [0.012, 0.05, 0.5, 0.9])
@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("float32", -9999.0),
        ("float64", 1e20),
        ("float32", -3.4028234663852886e38),
        ("int16", -32768.0),
        ("int16", -9999.0),
        ("uint16", 65535.0),
        ("uint16", 0.0),
        ("int32", -2147483648.0),
    ],
)
def test_fill_that_nobody_declared_is_named_with_the_remedy(dtype: str, fill: float, share: float) -> None:
    said = doubts(with_fill(LAND, fill, share, dtype))
    value = said.rpartition("--raster.nodata ")[2]
    assert float(value) == fill, said
    assert f"{100 * share:.2g} %" in said


def test_every_fill_value_of_every_band_is_named_once() -> None:
    one = with_fill(with_fill(LAND, -9999, 0.1, "float64"), -32768, 0.04, "float32")
    said = doubts(one, LAND, with_fill(LAND, -9999, 0.1, "float32"))
    assert said.count("--raster.nodata -9999") == 1
    assert said.count("--raster.nodata -32768") == 1
    assert "bands 1 and 3" in said


def test_a_stretch_from_end_to_end_is_looked_at_by_its_own_rule() -> None:
    assert "--raster.nodata -9999" in doubts(
        with_fill(LAND, -9999, 0.004, "float32"), stretch=RasterConfig(stretch="minmax")
    )
    assert doubts(with_fill(LAND, -9999, 0.004, "float32")) == "", "half a percent is cut off by the percentiles"


def test_values_in_a_corner_of_the_stretch_are_told_of() -> None:
    values = LAND.copy()
    values[:1600] = RNG.uniform(1e5, 1e6, 1600)
    said = doubts(values)
    assert "nine values of ten of band 1" in said
    assert "--raster.stretch_range" in said


@pytest.mark.parametrize(
    "values",
    [
        LAND,
        np.abs(RNG.normal(0, 300, 40_000)),
        RNG.exponential(500, 40_000),
        RNG.integers(0, 4, 40_000),
        np.full(1000, 7),
        np.zeros(0),
        RNG.integers(0, 2, 40_000),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_ordinary_values_raise_no_doubt(values: np.ndarray, dtype: str) -> None:
    assert doubts(LAND, values.astype(dtype)) == (
        "" if len(values) else "band 2 has no valid value in its sample (all pixels) and is shown unstretched"
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_image_that_is_flagged_as_alpha_is_told_from_a_mask(dtype: str) -> None:
    top = {"uint8": 255, "uint16": 65535, "float32": 1.0}[dtype]
    image = (np.clip(RNG.normal(0.2, 0.3, 10_000), 0, 1) * top).astype(dtype)
    said = alpha_doubt(image, 4)
    assert said is not None
    assert "band 4" in said
    assert "--raster.mask none" in said
    mask = (np.arange(10_000) > 3000) * np.array(top, dtype)
    assert alpha_doubt(mask, 4) is None
    feathered = mask.copy()
    feathered[2900:3000] = (np.linspace(0, 1, 100) * top).astype(dtype)
    assert alpha_doubt(feathered, 4) is None
    half = np.full(10_000, top / 2).astype(dtype)
    half[:100] = top
    assert alpha_doubt(half, 4) is None, "a uniformly translucent layer is no image"
    assert alpha_doubt(np.zeros(100, dtype), 4) is None
    assert alpha_doubt(np.zeros(0, dtype), 4) is None
