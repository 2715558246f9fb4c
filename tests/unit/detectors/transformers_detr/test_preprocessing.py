"""Chips become the very numbers that the transformers library's own Pillow processors make of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.deformable_detr.image_processing_pil_deformable_detr import DeformableDetrImageProcessorPil
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from pipeline.detectors.transformers_detr.card import foreign_card
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.transformers_detr.preprocessing import Preprocessing, pad_batch, read_preprocessing
from pipeline.errors import ModelError

MEAN_STD = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SETTINGS: list[tuple[str, type, dict[str, Any]]] = [
    ("rt_detr", RTDetrImageProcessorPil, {"size": {"height": 64, "width": 64}, "do_normalize": None}),
    ("rt_detr", RTDetrImageProcessorPil, {"size": {"height": 40, "width": 56}, "do_normalize": True, **MEAN_STD}),
    ("rt_detr", RTDetrImageProcessorPil, {"size": {"height": 48, "width": 48}, "resample": 3}),
    ("rt_detr_v2", RTDetrImageProcessorPil, {"size": {"max_height": 50, "max_width": 70}, "do_pad": True}),
    ("rt_detr_v2", RTDetrImageProcessorPil, {"do_resize": False, "do_pad": True, "do_rescale": False}),
    ("d_fine", RTDetrImageProcessorPil, {"size": {"height": 32, "width": 64}, "rescale_factor": 0.0078125}),
    ("detr", DetrImageProcessorPil, {"size": {"shortest_edge": 40, "longest_edge": 66}}),
    ("detr", DetrImageProcessorPil, {"size": 40, "max_size": 70, "do_normalize": True, **MEAN_STD}),
    ("detr", DetrImageProcessorPil, {"do_resize": False, "pad_size": {"height": 160, "width": 170}}),
    ("deformable_detr", DeformableDetrImageProcessorPil, {"size": {"shortest_edge": 33, "longest_edge": 47}}),
    ("yolos", YolosImageProcessorPil, {"size": {"shortest_edge": 40, "longest_edge": 66}}),
]


def folder_with(folder: Path, stated: dict[str, Any] | None, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or {}))
    if stated is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    return folder


@pytest.mark.parametrize(("family", "processor", "stated"), SETTINGS, ids=[f"{s[0]}-{s[2]}" for s in SETTINGS])
def test_input_is_bit_equal_to_the_librarys(
    family: str, processor: type, stated: dict[str, Any], tmp_path: Path
) -> None:
    """Pixels and pixel mask, for two chips of different random sizes, whatever the file asks for."""
    ours = read_preprocessing(folder_with(tmp_path, stated), family)
    theirs = processor(**stated)
    side = st.integers(16 if family != "yolos" else 48, 150)  # whose processor makes less than a patch nothing

    @settings(max_examples=8)
    @given(st.tuples(side, side), st.tuples(side, side), st.integers(0, 99))
    def check(first: tuple[int, int], second: tuple[int, int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        same = not ours.pad
        chips = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in (first, first if same else second)]
        expected = theirs(chips, return_tensors="np", input_data_format="channels_last")
        pixels, mask = pad_batch([ours.prepare(chip) for chip in chips], ours.pad_size)
        np.testing.assert_array_equal(pixels, np.stack(expected["pixel_values"]))
        if ours.pad:
            np.testing.assert_array_equal(mask, np.stack(expected["pixel_mask"]))

    check()


def test_without_a_stated_size_the_familys_own_holds(tmp_path: Path) -> None:
    """The defaults are those of the library's processors."""
    for family, processor in (("rt_detr", RTDetrImageProcessorPil), ("detr", DetrImageProcessorPil)):
        library = processor()
        assert MODEL_TYPES[family].defaults["size"] == {name: px for name, px in dict(library.size).items() if px}
        for name in ("do_resize", "do_rescale", "do_normalize", "do_pad", "rescale_factor", "resample"):
            assert MODEL_TYPES[family].defaults[name] == getattr(library, name), name
        assert MODEL_TYPES[family].defaults["image_mean"] == list(library.image_mean)
        assert MODEL_TYPES[family].defaults["image_std"] == list(library.image_std)


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ({"size": {"longest_edge": 40}}, "longest_edge"),
        ({"size": {"height": 0, "width": 4}}, "height"),
        ({"size": "large"}, "AttributeError"),
        ({"resample": 99}, "99"),
        ({"do_normalize": True, "image_mean": [0.5, 0.5], "image_std": [1, 1]}, "2 values of normalisation for 3"),
        ({"do_normalize": True, "image_mean": 0.5, "image_std": 0.0}, "std of 0"),
    ],
)
def test_an_unknown_wish_is_refused_by_name(stated: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=complaint):
        read_preprocessing(folder_with(tmp_path, stated), "rt_detr")


def test_what_rf_detr_is_not_resized_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"resample 3: a rf_detr is resized bilinearly"):
        read_preprocessing(folder_with(tmp_path, {"resample": 3}), "rf_detr")


@pytest.mark.parametrize(
    ("family", "backbone", "side"),
    [
        ("rf_detr", {"patch_size": 16, "num_windows": 2}, 224),
        ("rf_detr", {}, 224),  # patches of 14 px, 4 windows: four steps of 56
        ("lw_detr", {"patch_size": 16, "num_windows": 4}, 224),
        ("lw_detr", {"num_windows": 36}, 192),  # 6 windows along a side
        ("yolos", None, 224),
    ],
)
def test_crops_are_whole_windows(family: str, backbone: dict[str, Any] | None, side: int, tmp_path: Path) -> None:
    size = {"height": 448, "width": 448}
    ours = read_preprocessing(folder_with(tmp_path, {"size": size}, {"backbone_config": backbone}), family)
    assert ours.size_for(500, 500, share=0.25) == (side, side)


def test_a_picture_thinner_than_a_patch_keeps_one(tmp_path: Path) -> None:
    ours = read_preprocessing(folder_with(tmp_path, {"size": {"shortest_edge": 40, "longest_edge": 66}}), "yolos")
    assert ours.size_for(16, 160) == (16, 64)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"preprocessor_config\.json does not exist"):
        read_preprocessing(folder_with(tmp_path, None), "detr")


def test_a_pad_size_smaller_than_a_chip_is_refused() -> None:
    with pytest.raises(ModelError, match="pad_size 8 x 8 is smaller than a chip of 9 x 4"):
        pad_batch([np.zeros((3, 4, 9), np.float32)], (8, 8))


def card_folder(folder: Path, stated: dict[str, Any], card: dict[str, Any] | None = None) -> Path:
    folder_with(folder, stated, {"model_type": "rt_detr", "id2label": {"0": "boat", "1": "quay"}})
    (folder / "model.safetensors").write_bytes(b"weights")
    if card is not None:
        (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_a_foreign_card_comes_from_the_checkpoints_own_files(tmp_path: Path) -> None:
    folder = card_folder(
        tmp_path / "harbour", {"size": {"height": 320, "width": 256}, "do_normalize": True, **MEAN_STD}
    )
    card = foreign_card(folder, "rt_detr")
    assert (card.name, card.classes, card.input_px, card.gsd_m) == ("harbour", ("boat", "quay"), 320, None)
    assert card.bands == ("red", "green", "blue")
    np.testing.assert_allclose(card.mean, MEAN_STD["image_mean"], atol=1e-6)
    np.testing.assert_allclose(card.std, MEAN_STD["image_std"], atol=1e-6)
    assert card.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_the_cards_normalisation_is_of_pixels_over_255_whatever_the_file_scales_by(tmp_path: Path) -> None:
    """(v * s - m) / d == (v / 255 - mean) / std for every 8-bit v."""
    stated = {"rescale_factor": 1 / 127.5, "do_normalize": True, "image_mean": 1.0, "image_std": 0.5}
    folder = card_folder(tmp_path, stated)
    card, table = foreign_card(folder, "rt_detr"), read_preprocessing(folder, "rt_detr").table
    values = np.arange(256) / 255
    np.testing.assert_allclose((values - card.mean[0]) / card.std[0], table[0], atol=1e-4)


def test_a_partial_card_overrides_and_the_network_is_fed_accordingly(tmp_path: Path) -> None:
    folder = card_folder(
        tmp_path, {"size": {"height": 320, "width": 320}}, {"gsd_m": 0.3, "input_px": 96, "mean": [0.5] * 3}
    )
    card = foreign_card(folder, "rt_detr")
    assert (card.gsd_m, card.input_px, card.mean) == (0.3, 96, (0.5, 0.5, 0.5))
    preprocessing: Preprocessing = read_preprocessing(folder, "rt_detr")
    assert preprocessing.size_for(500, 400) == (96, 96)
    assert preprocessing.size_for(500, 400, share=0.5) == (64, 64), "in steps of 32 px"
    assert preprocessing.size_for(500, 400, share=0.01) == (32, 32), "never nothing"
    assert preprocessing.table[0, 0] < 0


def test_a_complete_card_stands_in_for_a_missing_preprocessor_file(tmp_path: Path) -> None:
    folder = card_folder(tmp_path, {}, {"input_px": 64, "mean": [0.0] * 3, "std": [1.0] * 3})
    (folder / "preprocessor_config.json").unlink()
    assert read_preprocessing(folder, "detr").size_for(10, 20) == (64, 64)


@pytest.mark.parametrize(("key", "value"), [("gsd", 0.3), ("gsd_m", "fine"), ("sha256", "0" * 64)])
def test_a_partial_card_is_checked_like_any_card(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=key):
        foreign_card(card_folder(tmp_path, {}, {key: value}), "rt_detr")
