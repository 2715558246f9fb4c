"""Old files under a new library: null where the library of its time took the default."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from pipeline.detectors import load_detector
from pipeline.detectors.transformers_detr import load_transformers_detr
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.transformers_detr.nulls import without_nulls
from pipeline.errors import ModelError
from pipeline.types import Chip, Detections, Window
from tests.support.checkpoints import FAMILIES, save_checkpoint, save_timm_checkpoint


def seen(folder: Path) -> Detections:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    detector = load_transformers_detr(folder)
    return detector.detect([Chip(pixels=pixels, window=Window(x=0, y=0, width=64, height=64))], score_threshold=0.0)[
        0
    ].detections


def edit(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_setting_that_has_its_default_may_be_null_instead(family: str, tmp_path: Path) -> None:
    """All of the library's settings with a default that the checkpoint does not depart from, in the configuration and
    in its backbone's, are written as null: the same boxes."""
    folder = save_checkpoint(family, tmp_path)
    before = seen(folder)
    config = json.loads((folder / "config.json").read_text())
    described = [(config, getattr(transformers, MODEL_TYPES[family].config_class))]
    if inner := config.get("backbone_config"):
        described.append((inner, type(transformers.AutoConfig.for_model(inner["model_type"]))))
    for stated, known in described:
        plain = known()
        nulled = [
            field.name
            for field in fields(known)
            if field.name not in ("backbone_config", "id2label", "label2id")
            and stated.get(field.name, getattr(plain, field.name)) == getattr(plain, field.name)
        ]
        assert len(nulled) > 1
        stated |= dict.fromkeys(nulled)
    (folder / "config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(seen(folder).boxes, before.boxes)


@pytest.mark.parametrize("family", ["detr", "conditional_detr", "deformable_detr"])
def test_a_checkpoint_of_timm_may_hold_nulls_too(family: str, tmp_path: Path) -> None:
    save_timm_checkpoint(family, tmp_path, bottleneck=False, spelling="flat")
    before = seen(tmp_path)
    edit(
        tmp_path / "config.json",
        {"dilation": None, "num_channels": None, "backbone_kwargs": None, "num_feature_levels": None},
    )
    edit(tmp_path / "preprocessor_config.json", {"do_pad": None, "pad_size": None, "rescale_factor": None})
    np.testing.assert_array_equal(seen(tmp_path).boxes, before.boxes)


def test_null_stays_where_it_is_the_librarys_own_default() -> None:
    config = without_nulls({"dilation": None, "id2label": None, "unknown": None, "d_model": 8}, transformers.DetrConfig)
    assert config == {"id2label": None, "unknown": None, "d_model": 8}


def test_nulls_of_the_other_files_stand_for_what_is_usual(tmp_path: Path) -> None:
    folder = save_checkpoint("detr", tmp_path)
    card = load_detector(folder).card
    edit(folder / "config.json", {"num_labels": None, "num_channels": None})
    (folder / "card.json").write_text(
        json.dumps({"gsd_m": 0.3, "input_px": None, "mean": None, "score_threshold": None})
    )
    assert load_detector(folder).card.input_px == card.input_px
    assert load_detector(folder).card.gsd_m == 0.3


def test_a_value_the_library_refuses_is_said_whole(tmp_path: Path) -> None:
    folder = save_checkpoint("detr", tmp_path)
    edit(folder / "config.json", {"dilation": "wide"})
    with pytest.raises(ModelError, match=r"can be built: .*'dilation'.* expected bool, got str") as caught:
        load_detector(folder)
    assert "\n" not in str(caught.value)
