"""What is a scene among files that were found, and what the others are, by their names alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.raster.scene_files import (
    BANDS,
    HIDDEN,
    MASK,
    OTHER,
    OVERVIEW,
    PICTURE,
    PRODUCT,
    RESULT,
    SIDECAR,
    VRT,
    why_no_scene,
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.tif", None),
        ("2026/06/A.TIFF", None),
        ("a.jp2", None),
        ("Maskat_2026.tif", None),
        ("mask_2026.tif", MASK),
        ("20260101_3B_udm2_clip.tif", MASK),
        ("LC08_QA_PIXEL.TIF", MASK),
        ("a.tif.msk", MASK),
        ("a.tif.ovr", OVERVIEW),
        ("a.tif.aux.xml", SIDECAR),
        ("a.tfw", SIDECAR),
        ("a_RPC.TXT", SIDECAR),
        ("README", OTHER),
        ("README.md", OTHER),
        ("a.tif.part", OTHER),
        ("P0001.png", None),
        ("P0001_thumb.jpg", PICTURE),
        ("thumb.tif", None),
        (".a.tif", HIDDEN),
        (".cache/a.tif", HIDDEN),
        ("harbour/preview.png", RESULT),
        ("harbour/attention.tif", RESULT),
        ("S2A.SAFE/GRANULE/x/IMG_DATA/T32_TCI.jp2", PRODUCT),
        ("a.vrt", VRT),
    ],
)
def test_a_name_by_itself_tells_what_it_is(name: str, reason: str | None) -> None:
    assert why_no_scene([name]) == {name: reason}


def test_a_vrt_is_a_scene_where_it_is_allowed() -> None:
    assert why_no_scene(["a.vrt"], allow_vrt=True) == {"a.vrt": None}


@pytest.mark.parametrize(
    "together",
    [
        ("B02.jp2", "B03.jp2", "B8A.jp2"),
        ("x/T32_20260101_B02_10m.jp2", "x/T32_20260101_B03_10m.jp2"),
        ("LC08_L1TP_B1.TIF", "LC08_L1TP_B10.TIF"),
        ("red.tif", "green.tif", "nir.tif"),
    ],
)
def test_files_that_differ_in_their_band_alone_are_no_scenes(together: tuple[str, ...]) -> None:
    assert set(why_no_scene([*together, "x/other.tif"]).values()) == {BANDS, None}


@pytest.mark.parametrize(
    "apart",
    [
        ("a_B02.jp2",),
        ("a_B02.jp2", "b_B03.jp2"),
        ("x/B02.jp2", "y/B03.jp2"),
        ("sheet_A1.tif", "sheet_A2.tif", "sheet_B1.tif", "sheet_B2.tif"),
        ("S2A_1.tif", "S2B_1.tif"),
        ("a_1.tif", "a_2.tif"),
    ],
)
def test_one_band_and_sheets_of_a_map_are_scenes(apart: tuple[str, ...]) -> None:
    assert set(why_no_scene(apart).values()) == {None}


def test_a_picture_of_the_same_name_is_no_second_scene() -> None:
    assert why_no_scene(["a.jpg", "a.tif", "x/a.jpg", "b.png"]) == {
        "a.jpg": PICTURE, "a.tif": None, "x/a.jpg": None, "b.png": None,
    }  # fmt: skip


NAMES = st.lists(
    st.from_regex(r"(x/|y/|\.z/)?[ab](_B[123]|_A1|_mask|_thumb)?\.(tif|png|ovr|vrt|md)", fullmatch=True),
    unique=True,
    max_size=12,
)


@given(NAMES, st.randoms(use_true_random=False))
def test_every_name_gets_one_answer_whatever_the_order_and_other_folders(
    names: list[str], chance: random.Random
) -> None:
    answers = why_no_scene(names)
    mixed = list(names)
    chance.shuffle(mixed)
    assert list(answers) == names
    assert why_no_scene(mixed) == answers
    elsewhere = why_no_scene([*names, *(f"far/{name}" for name in names)])
    assert {name: elsewhere[name] for name in names} == answers
