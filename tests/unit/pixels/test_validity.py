"""The rule of validity: holes by nodata, by NaN, by mask and by alpha, and scenes that can have none."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from pipeline.pixels.validity import may_be_invalid, nodata_values, speaking, valid_pixels
from pipeline.types import Scene

PLAIN = Scene(
    scene_id="a", uris=("a.tif",), width=4, height=3, bands=(1, 2, 3), band_count=3, dtype="uint8", driver="GTiff",
    crs_wkt=None, transform=None, gcps=(), nodata=None, has_mask=False, block_width=4, block_height=3, overviews=(),
)  # fmt: skip


def test_black_in_one_band_is_a_colour_and_in_all_of_them_a_hole() -> None:
    pixels = np.array(list(product((0, 9), repeat=3)), np.uint8).reshape(2, 4, 3)
    valid = valid_pixels(pixels, (np.uint8(0),) * 3)
    assert valid.shape == (2, 4)
    assert np.argwhere(~valid).tolist() == [[0, 0]]
    assert valid_pixels(pixels).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_that_is_no_number_makes_a_hole_of_the_pixel(value: float, channel: int) -> None:
    pixels = np.zeros((2, 3, 3), np.float32)
    pixels[1, 2, channel] = value
    assert np.argwhere(~valid_pixels(pixels)).tolist() == [[1, 2]]


def test_of_a_palette_image_the_number_is_compared_and_not_the_colour() -> None:
    colours = np.zeros((1, 3, 3), np.uint8)
    assert valid_pixels(colours, (np.uint8(5),) * 3, np.array([[5, 0, 6]], np.uint8)).tolist() == [[False, True, True]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32"])
def test_a_mask_hides_where_it_is_zero_and_any_mask_does(dtype: str) -> None:
    pixels = np.ones((1, 4, 3), np.uint16)
    masks = np.array([[[1, 0, 1, 1]], [[1, 1, 1, 0]]], dtype)
    assert valid_pixels(pixels, masks=iter(masks)).tolist() == [[True, False, True, False]]


def test_an_alpha_that_is_no_number_hides() -> None:
    assert not valid_pixels(np.ones((1, 1, 3), np.uint8), masks=[np.full((1, 1), np.nan)]).any()


def test_all_rules_hold_together() -> None:
    pixels = np.array([[[1], [0], [np.nan], [1]]], np.float32)
    assert valid_pixels(pixels, (np.float32(0),), masks=[np.array([[1, 1, 1, 0]])]).tolist() == [
        [True, False, False, False]
    ]


@pytest.mark.parametrize(
    ("change", "masked", "may"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"nodata": 0.0}, False, True),
        ({"nodata": 256.0}, False, False),
        ({"nodata": 0.5}, False, False),
        ({"nodata": float("nan")}, False, False),
        ({"dtype": "float32"}, False, True),
        ({"dtype": "int16", "nodata": -9999.0}, False, True),
    ],
)
def test_a_scene_may_have_holes_where_any_rule_can_apply(change: dict[str, object], masked: bool, may: bool) -> None:
    assert may_be_invalid(replace(PLAIN, **change), masked=masked) is may


def test_the_nodata_values_are_of_the_type_of_the_pixels() -> None:
    values = nodata_values(replace(PLAIN, dtype="float32", nodata=-3.4e38))
    assert values == (np.float32(-3.4e38),) * 3
    assert values[0] is not None
    assert values[0].dtype == np.float32
    (value,) = nodata_values(replace(PLAIN, dtype="float32", bands=(1,), nodata=-1e39))
    assert value is not None
    assert np.isneginf(value)
    assert nodata_values(replace(PLAIN, nodata=300.0), "uint16") == (np.uint16(300),) * 3
    assert nodata_values(replace(PLAIN, nodata=300.0)) == ()


def test_every_channel_is_judged_by_the_nodata_value_of_its_band() -> None:
    """One pixel a line: a hole where all three are silent; a band that declares none never is."""
    scene = replace(PLAIN, dtype="int16", band_nodata=(0.0, -9999.0, 0.0))
    pixels = np.array([[[0, -9999, 0], [0, 5, 0], [0, 0, 0], [-9999, -9999, 0]]], np.int16)
    assert valid_pixels(pixels, nodata_values(scene)).tolist() == [[False, True, True, True]]
    says = np.stack(list(speaking(pixels, nodata_values(scene))), axis=-1)
    assert says[0].tolist() == [[False] * 3, [False, True, False], [False, True, False], [True, False, False]]
    silent = replace(scene, band_nodata=(0.0, None, -9999.0))
    assert valid_pixels(np.array([[[0, 7, -9999]]], np.int16), nodata_values(silent)).all()


def test_masks_of_single_bands_hide_a_pixel_only_together() -> None:
    pixels = np.ones((1, 4, 3), np.uint8)
    masks = [np.array([[0, 255, 0, 0]], np.uint8), np.array([[0, 0, 255, 0]], np.uint8), np.zeros((1, 4), np.uint8)]
    assert valid_pixels(pixels, band_masks=masks).tolist() == [[False, True, True, False]]
    assert valid_pixels(pixels, band_masks=[*masks[:2], None]).all()
    assert valid_pixels(pixels, (np.uint8(1),) * 3, band_masks=[*masks[:2], None]).tolist() == [[False] * 4]
