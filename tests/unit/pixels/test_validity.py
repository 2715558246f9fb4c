"""The rule of validity: holes by nodata, by NaN, by mask and by alpha, and scenes that can have none."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from pipeline.pixels.validity import may_be_invalid, nodata_value, valid_pixels
from pipeline.types import Scene

PLAIN = Scene(
    scene_id="a", uris=("a.tif",), width=4, height=3, bands=(1, 2, 3), band_count=3, dtype="uint8", driver="GTiff",
    crs_wkt=None, transform=None, gcps=(), nodata=None, has_mask=False, block_width=4, block_height=3, overviews=(),
)  # fmt: skip


def test_black_in_one_band_is_a_colour_and_in_all_of_them_a_hole() -> None:
    pixels = np.array(list(product((0, 9), repeat=3)), np.uint8).reshape(2, 4, 3)
    valid = valid_pixels(pixels, np.uint8(0))
    assert valid.shape == (2, 4)
    assert np.argwhere(~valid).tolist() == [[0, 0]]
    assert valid_pixels(pixels, None).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_that_is_no_number_makes_a_hole_of_the_pixel(value: float, channel: int) -> None:
    pixels = np.zeros((2, 3, 3), np.float32)
    pixels[1, 2, channel] = value
    assert np.argwhere(~valid_pixels(pixels, None)).tolist() == [[1, 2]]


def test_of_a_palette_image_the_number_is_compared_and_not_the_colour() -> None:
    colours = np.zeros((1, 3, 3), np.uint8)
    assert valid_pixels(colours, np.uint8(5), np.array([[5, 0, 6]], np.uint8)).tolist() == [[False, True, True]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32"])
def test_a_mask_hides_where_it_is_zero_and_any_mask_does(dtype: str) -> None:
    pixels = np.ones((1, 4, 3), np.uint16)
    masks = np.array([[[1, 0, 1, 1]], [[1, 1, 1, 0]]], dtype)
    assert valid_pixels(pixels, None, masks=iter(masks)).tolist() == [[True, False, True, False]]


def test_an_alpha_that_is_no_number_hides() -> None:
    assert not valid_pixels(np.ones((1, 1, 3), np.uint8), None, masks=[np.full((1, 1), np.nan)]).any()


def test_all_rules_hold_together() -> None:
    pixels = np.array([[[1], [0], [np.nan], [1]]], np.float32)
    assert valid_pixels(pixels, np.float32(0), masks=[np.array([[1, 1, 1, 0]])]).tolist() == [
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


def test_the_nodata_value_is_of_the_type_of_the_pixels() -> None:
    value = nodata_value(replace(PLAIN, dtype="float32", nodata=-3.4e38))
    assert value == np.float32(-3.4e38)
    assert value.dtype == np.float32
    assert np.isneginf(nodata_value(replace(PLAIN, dtype="float32", nodata=-1e39)))
