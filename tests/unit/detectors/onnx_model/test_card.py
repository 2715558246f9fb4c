"""What a file and its cards say, which of them wins, and what is asked for because nobody says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import onnx
import pytest

from pipeline.detectors.card import add_calibration
from pipeline.detectors.loading import read_model_card
from pipeline.errors import ModelError
from pipeline.runs.identity import model_version
from pipeline.types import Calibration, ModelCard
from tests.support.onnx_files import CARD, CLASSES, NAMES, write_guest, write_onnx


def beside(path: Path, content: Mapping[str, Any]) -> None:
    path.with_suffix(".card.json").write_text(json.dumps(content))


def test_metadata_says_classes_licence_and_size(tmp_path: Path) -> None:
    metadata = {**NAMES, "imgsz": "[1024, 1024]", "license": "AGPL-3.0 License\n(https://example.org/license)"}
    card = read_model_card(write_onnx(tmp_path / "best.onnx", "yolo-obb", size=None, metadata=metadata))
    assert (card.name, card.classes, card.input_px, card.oriented) == ("best", tuple(CLASSES), 1024, True)
    assert card.licence == "AGPL-3.0 License (https://example.org/license)"
    assert (card.mean, card.std, card.gsd_m, card.bands) == ((0,) * 3, (1,) * 3, None, ("red", "green", "blue"))
    assert card.described is not None
    assert "best.onnx is read as a YOLO-OBB" in card.described
    assert card.runtime is not None
    assert card.runtime.startswith("onnxruntime ")


def test_the_card_beside_a_file_wins(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx", "yolo")
    given = {"name": "cars", "classes": ["a", "b", "c"], "gsd_m": 0.3, "mean": [0.1] * 3, "std": [0.5] * 3,
             "licence": "ours", "score_threshold": 0.6, "input_px": 48}  # fmt: skip
    assert read_model_card(tmp_path).name == tmp_path.name, "a folder's model.onnx is called like the folder"
    beside(path, given)
    card = read_model_card(tmp_path)
    assert {key: getattr(card, key) for key in given} == {
        key: tuple(value) if isinstance(value, list) else value for key, value in given.items()
    }


def test_a_calibration_is_written_to_the_card_beside_the_file(tmp_path: Path) -> None:
    path = write_guest(tmp_path, "detr")
    line = Calibration(scores=(0.1, 0.9), precision=(0.2, 0.8), boxes=9, iou=0.5, scenes=("a",), method="isotonic",
                       ece_before=0.1, ece_after=None)  # fmt: skip
    assert add_calibration(path, line) == tmp_path / "detr.card.json"
    assert read_model_card(path).calibration == line
    path.write_bytes(write_guest(tmp_path, "yolo").read_bytes())
    with pytest.raises(ModelError, match=r"detr\.card\.json is for weights with sha256"):
        read_model_card(path)


def test_where_file_and_shapes_disagree_shapes_are_believed_and_it_is_said(tmp_path: Path) -> None:
    card = read_model_card(write_onnx(tmp_path / "a.onnx", "yolo-obb", metadata={**NAMES, "task": "detect"}))
    assert card.oriented
    assert "its metadata says task detect, and its shapes do not" in str(card.described)
    card = read_model_card(write_onnx(tmp_path / "b.onnx", "yolo26", metadata={**NAMES, "args": "{'nms': True}"}))
    assert "export it with nms=False" in str(card.described)


def test_what_was_found_by_another_layout_goes_by_another_name(tmp_path: Path) -> None:
    """Of the same weights and classes: who corrects the layout does not want the boxes of before."""
    path = write_onnx(tmp_path / "best.onnx", "yolo", metadata=NAMES)
    versions = set()
    for layout in ("yolo", "yolo-bounds"):
        beside(path, {"layout": layout})
        versions.add(model_version(read_model_card(path)))
    assert len(versions) == 2


def test_the_file_of_oriented_det_beside_its_export_is_read(tmp_path: Path) -> None:
    card = read_model_card(write_guest(tmp_path, "oriented-det"))
    assert (card.classes, card.score_threshold, card.mean) == (tuple(CLASSES), 0.2, (0.0,) * 3)


@pytest.mark.parametrize("key", [*(field.name for field in fields(ModelCard)), "layout"])
def test_no_value_of_a_card_ends_in_anything_but_a_card_or_a_sentence(key: str, tmp_path: Path) -> None:
    """Beside a file, and inside one of our own."""
    path, ours = write_onnx(tmp_path / "best.onnx", "yolo-obb"), write_guest(tmp_path, "kestrel-fcos")
    exported = onnx.load(ours)
    for value in (5, -1.5, "", "x\n", [], {}, [[]], [1, 2, 3], True, 10**400):
        beside(path, {key: value})
        onnx.helper.set_model_props(exported, {"kestrel": json.dumps({**CARD, key: value})})
        ours.write_bytes(exported.SerializeToString())
        for one in (path, ours):
            try:
                assert isinstance(read_model_card(one), ModelCard)
            except ModelError as error:
                assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


NOTHING_SAID: list[tuple[str, dict[str, str], dict[str, Any] | None, str]] = [
    ("yolo", {}, None, r'does not say what its classes are: write best\.card\.json beside it.*"classes": \["plane"'),
    ("yolo", {"names": "__import__('os')"}, None, "does not say what its classes are"),
    ("yolo", {"names": "[" * 5000}, None, "does not say what its classes are"),
    ("yolo", {"names": "-" * 100_000 + "1"}, None, "does not say what its classes are"),
    ("yolo", {"names": "{0: 'a', 2: 'b'}"}, None, "numbers its classes with gaps"),
    ("yolo", {"names": "{0: 'a', 1: 'b', 2: 'c\\x00'}"}, None, "classes must be a list"),
    ("detr", {}, {"classes": CLASSES}, r'how its pixels are normalised: write best\.card\.json.*"mean": \[0\.485'),
    ("detr-boxes", NAMES, None, "how its pixels are normalised"),
    ("yolo", NAMES, {"classes": ["a", "b"]}, "names 2 classes, and the file itself 3"),
    ("yolo", {}, {"classes": CLASSES}, "how its pixels are normalised"),
    ("yolo", {}, {"classes": ["a"]}, "but of 3 classes or, turned or with objectness, 2"),
    ("yolo", NAMES, {"classes": []}, "names 0 classes, and the file itself 3"),
    ("yolo", NAMES, {"mean": [0.4] * 3}, "gives mean alone"),
    ("yolo", NAMES, {"bands": ["red"]}, "names 1 bands, and the file takes 3"),
    ("yolo", NAMES, {"input_px": 640}, "says input_px: 640, but the file takes 64 px"),
    ("yolo", NAMES, {"oriented": True}, "says oriented: True, but the file is a YOLO"),
    ("yolo", NAMES, {"gsd_m": -1}, r"best\.card\.json: gsd_m must be"),
    ("yolo", NAMES, {"gsd": 1}, r"best\.card\.json: unknown key 'gsd'"),
    ("yolo", NAMES, {"runtime": "mine"}, "unknown key 'runtime'"),
    ("yolo", NAMES, {"sha256": "0" * 64}, "is for weights with sha256 000000000000"),
    ("kestrel-fcos", {"kestrel": "{"}, None, "the card inside is no JSON"),
    ("kestrel-fcos", {"kestrel": "[" * 100_000}, None, "the card inside is no JSON"),
    ("kestrel-fcos", {"kestrel": "[1]"}, None, "the card inside is no JSON object"),
    ("kestrel-fcos", NAMES, CARD, "of no detector of 3 classes"),
]


@pytest.mark.parametrize(("layout", "metadata", "card", "said"), NOTHING_SAID)
def test_what_nobody_says_or_two_say_differently_is_one_sentence(
    layout: str, metadata: dict[str, str], card: dict[str, Any] | None, said: str, tmp_path: Path
) -> None:
    path = write_onnx(tmp_path / "best.onnx", layout, metadata=metadata)
    if card is not None:
        beside(path, card)
    with pytest.raises(ModelError, match=said) as caught:
        read_model_card(path)
    assert "\n" not in str(caught.value)
