"""The 8-bit stretch: never wraps, one map per scene, sensible where there is nothing to measure."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import RasterConfig
from pipeline.pixels.stretch import fixed_stretch, identity_stretch, is_identity_stretch, stretch_from_sample, to_bytes
from pipeline.types import Stretch


def exact(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """The formula of ``Stretch`` in float64, rounded half up."""
    return np.clip(np.floor(255.0 * (pixels.astype(np.float64) - low) / (high - low) + 0.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float64"])
def test_every_value_follows_the_formula(dtype: str) -> None:
    """All values of small types, extremes of large ones: monotonic, clipped, never wrapped."""
    kind = np.dtype(dtype)
    limits = (-1e12, 1e12) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    values = np.linspace(*limits, 65_536).astype(kind)
    low, high = limits[0] * 0.25 + 3.3, limits[1] * 0.75
    mapped = to_bytes(values[:, None, None], Stretch(kind="fixed", low=(low,), high=(high,), source="test"))[:, 0, 0]
    assert np.abs(mapped.astype(int) - exact(values, low, high)).max() <= (0 if kind.itemsize <= 2 else 1)
    assert (np.diff(mapped.astype(int)) >= 0).all()
    assert mapped[0] == 0
    assert mapped[-1] == 255


def test_a_16_bit_ramp_does_not_wrap() -> None:
    """``astype(uint8)`` would start again at 0 every 256 values; the identity clips at 255."""
    ramp = np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1)
    mapped = to_bytes(ramp, identity_stretch(1, "test")).ravel()
    assert (mapped[:256] == np.arange(256)).all()
    assert (mapped[256:] == 255).all()


def test_float32_is_exact_to_one_level() -> None:
    values = np.random.default_rng(0).uniform(-2, 3, (50, 60, 2)).astype(np.float32)
    mapped = to_bytes(values, Stretch(kind="minmax", low=(-1.0, 0.0), high=(1.0, 2.5), source="test"))
    for channel, (low, high) in enumerate([(-1.0, 1.0), (0.0, 2.5)]):
        assert np.abs(mapped[..., channel].astype(int) - exact(values[..., channel], low, high)).max() <= 1


def test_nan_and_invalid_pixels_become_zero() -> None:
    values = np.array([[[np.nan], [np.inf], [-np.inf], [0.5], [0.5]]], np.float32)
    valid = np.array([[False, True, True, True, False]])
    mapped = to_bytes(values, Stretch(kind="fixed", low=(0.0,), high=(1.0,), source="test"), valid)
    assert mapped.ravel().tolist() == [0, 255, 0, 128, 0]


def test_the_input_is_never_changed() -> None:
    for dtype in ("uint8", "uint16", "float32", "float64"):
        pixels = np.full((4, 4, 3), 7, dtype)
        out = to_bytes(pixels, identity_stretch(3, "test"), np.zeros((4, 4), np.bool_))
        assert (pixels == 7).all()
        assert (out == 0).all()


def test_percentiles_ignore_invalid_pixels() -> None:
    """A scene that is half nodata must not be stretched by the value of nodata."""
    pixels = np.zeros((100, 100, 1), np.uint16)
    pixels[:50] = np.arange(1000, 6000).reshape(50, 100, 1)
    valid = pixels[..., 0] > 0
    stretch = stretch_from_sample(pixels, valid, RasterConfig(), "test")
    expected = np.percentile(np.arange(1000, 6000), [1, 99])
    assert (stretch.low[0], stretch.high[0]) == pytest.approx(tuple(expected))
    assert stretch.kind == "percentile"
    assert stretch.source == "test"


def test_minmax_takes_the_ends() -> None:
    pixels = np.array([[[5.0], [9.0], [7.0]]])
    stretch = stretch_from_sample(pixels, np.ones((1, 3), np.bool_), RasterConfig(stretch="minmax"), "test")
    assert (stretch.low, stretch.high) == ((5.0,), (9.0,))


def test_a_constant_band_and_an_empty_sample_do_not_divide_by_zero() -> None:
    constant = np.full((3, 3, 1), 1234, np.uint16)
    stretch = stretch_from_sample(constant, np.ones((3, 3), np.bool_), RasterConfig(), "test")
    assert (to_bytes(constant, stretch) == 0).all()
    nothing = stretch_from_sample(constant, np.zeros((3, 3), np.bool_), RasterConfig(), "overview 8")
    assert is_identity_stretch(nothing)
    assert "no valid pixel" in nothing.source


@pytest.mark.parametrize(
    ("dtype", "options", "kind"),
    [
        ("uint8", {}, "none"),
        ("uint8", {"stretch": "fixed", "stretch_range": (10.0, 90.0)}, "fixed"),
        ("uint16", {"stretch": "fixed", "stretch_range": (0.0, 4000.0)}, "fixed"),
        ("uint16", {"stretch": "none"}, "none"),
        ("uint8", {"stretch": "minmax"}, None),
        ("uint16", {}, None),
        ("float32", {"stretch": "minmax"}, None),
    ],
)
def test_only_what_needs_pixels_is_measured(dtype: str, options: dict, kind: str | None) -> None:
    """8-bit scenes are left alone unless the run names another map; None means: look at the pixels."""
    stretch = fixed_stretch(dtype, 3, RasterConfig(**options))
    assert (stretch.kind if stretch else None) == kind
    if kind == "fixed":
        assert stretch is not None
        assert (stretch.low[0], stretch.high[0]) == options["stretch_range"]


def test_a_stretch_of_other_bands_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bands cannot map pixels of 2"):
        to_bytes(np.zeros((2, 2, 2), np.uint16), identity_stretch(3, "test"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e36, 3e38, 1e300])
def test_a_stretch_of_any_magnitude_spreads_its_values_over_all_bytes(dtype: str, scale: float) -> None:
    if dtype == "float32" and scale == 1e300:
        pytest.skip("no float32")
    pixels = (np.linspace(0, 1, 256)[None, :, None] * scale).astype(dtype)
    stretch = stretch_from_sample(pixels, np.ones((1, 256), np.bool_), RasterConfig(stretch="minmax"), "test")
    assert np.abs(to_bytes(pixels, stretch)[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    constant = np.full((1, 2, 1), scale, dtype)
    assert not to_bytes(
        constant, stretch_from_sample(constant, np.ones((1, 2), np.bool_), RasterConfig(), "test")
    ).any()


def test_each_band_is_measured_on_its_own_valid_values() -> None:
    pixels = np.array([[[5.0, 1.0], [9.0, 2.0], [-9999.0, 7.0]]])
    told = np.array([[[True, False], [True, False], [False, False]]])
    stretch = stretch_from_sample(pixels, told, RasterConfig(stretch="minmax"), "test")
    assert (stretch.low, stretch.high) == ((5.0, 0.0), (9.0, 255.0))
