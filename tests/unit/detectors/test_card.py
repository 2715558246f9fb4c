"""Model cards: what is written is read back; what is wrong is refused with the key's name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.detectors.card import card_from_mapping, read_card, write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.errors import ModelError
from pipeline.types import Calibration, ModelCard

WEIGHTS = b"sixteen bits each"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def make_card(**changes: Any) -> ModelCard:
    values: dict[str, Any] = {
        "name": "ships-s2", "classes": ("ship",), "gsd_m": 10.0, "bands": ("red", "green", "blue"), "input_px": 512,
        "sha256": SHA256, "oriented": True, "score_threshold": 0.4, "longest_object_m": 400.0, "mean": (0.1, 0.2, 0.3),
        "std": (1.0, 0.9, 0.8), "licence": "CC-BY-4.0", "training_data": "Sentinel-2 © Copernicus",
        "metrics": {"val AP50 oriented": 0.5}, "calibration": Calibration(
            method="isotonic", scores=(0.1, 0.5), precision=(0.05, 0.75), boxes=80, iou=0.5, scenes=("a", "b"),
            ece_before=0.2, ece_after=None,
        ),
    }  # fmt: skip
    return ModelCard(**{**values, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    return tmp_path


def rewrite(folder: Path, **changes: Any) -> None:
    """Change keys of the card on disk; ``...`` removes one."""
    content = json.loads((folder / "card.json").read_text()) | changes
    content = {name: value for name, value in content.items() if value is not ...}
    (folder / "card.json").write_text(json.dumps(content))


def test_a_card_survives_the_round_trip(folder: Path) -> None:
    card = make_card()
    assert write_card(folder, card) == folder / "card.json"
    assert read_card(folder) == card
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]


def test_optional_keys_may_be_left_out(folder: Path) -> None:
    write_card(folder, make_card())
    for name in (
        "oriented",
        "score_threshold",
        "longest_object_m",
        "mean",
        "std",
        "licence",
        "training_data",
        "metrics",
        "calibration",
    ):
        rewrite(folder, **{name: ...})
    assert read_card(folder) == ModelCard(
        name="ships-s2", classes=("ship",), gsd_m=10.0, bands=("red", "green", "blue"), input_px=512, sha256=SHA256
    )


@pytest.mark.parametrize("name", ["name", "classes", "gsd_m", "bands", "input_px", "sha256"])
def test_a_missing_key_is_named(name: str, folder: Path) -> None:
    write_card(folder, make_card())
    rewrite(folder, **{name: ...})
    with pytest.raises(ModelError, match=f"'{name}' is missing"):
        read_card(folder)


def test_an_unknown_key_is_named(folder: Path) -> None:
    write_card(folder, make_card())
    rewrite(folder, gsd=10)
    with pytest.raises(ModelError, match=r"unknown key 'gsd'; a model card has name, classes, gsd_m"):
        read_card(folder)


WRONG: list[tuple[str, Any]] = [
    ("name", ""), ("name", 3), ("classes", []), ("classes", "ship"), ("classes", ["ship", 2]), ("gsd_m", 0),
    ("gsd_m", "10"), ("gsd_m", True), ("bands", []), ("bands", ["red", "red"]), ("input_px", 512.0), ("input_px", 0),
    ("input_px", None), ("sha256", SHA256[:-1]), ("sha256", SHA256.upper()), ("oriented", 1), ("score_threshold", 1.1),
    ("score_threshold", None), ("longest_object_m", -1), ("mean", 0.5), ("mean", [0.1, 0.2]), ("std", [1, 1, 0]),
    ("licence", 3), ("training_data", []), ("metrics", []), ("gsd_m", float("nan")), ("gsd_m", float("inf")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}={value}"[:40] for name, value in WRONG])
def test_an_ill_typed_value_is_named(name: str, value: Any, folder: Path) -> None:
    write_card(folder, make_card())
    rewrite(folder, **{name: value})
    with pytest.raises(ModelError, match=rf"card\.json: {name} ") as caught:
        read_card(folder)
    assert "\n" not in str(caught.value)


CALIBRATION: dict[str, Any] = asdict(make_card())["calibration"]


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": [0.5, 0.1]}, {"scores": [0.1, 0.1]}, {"scores": [0.1]}, {"scores": [], "precision": []},
        {"scores": [-0.1, 0.5]}, {"scores": [0.1, float("nan")]}, {"scores": 3}, {"precision": [0.75, 0.05]},
        {"precision": [0.05, 1.1]}, {"precision": ["a", "b"]}, {"boxes": 0}, {"boxes": 1.5}, {"boxes": True},
        {"iou": 0}, {"iou": 2}, {"scenes": []}, {"scenes": "a"}, {"flips": "no"}, {"ece_before": None},
        {"ece_after": -1}, {"method": ""}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_calibration_that_is_none_is_refused(changes: dict[str, Any], folder: Path) -> None:
    write_card(folder, make_card())
    rewrite(folder, calibration={**CALIBRATION, **changes})
    with pytest.raises(ModelError, match=r"card\.json: calibration must be null, or an object with method") as caught:
        read_card(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(CALIBRATION))
def test_a_calibration_that_lacks_a_key_is_refused_but_for_flips(name: str, folder: Path) -> None:
    write_card(folder, make_card())
    rewrite(folder, calibration={key: value for key, value in CALIBRATION.items() if key != name})
    if name == "flips":
        assert read_card(folder) == make_card()
        return
    with pytest.raises(ModelError, match="calibration must be"):
        read_card(folder)


def test_every_field_has_a_rule() -> None:
    """A field added to ModelCard must be checked: an object is no valid value for any but ``metrics``."""
    for field in fields(ModelCard):
        with pytest.raises(ModelError, match=field.name):
            card_from_mapping({**asdict(make_card()), field.name: [{}]}, source="card.json")


def test_weights_other_than_the_cards_are_refused(folder: Path) -> None:
    write_card(folder, make_card())
    (folder / "model.safetensors").write_bytes(WEIGHTS + b"!")
    with pytest.raises(ModelError, match=rf"sha256 {SHA256[:12]}"):
        read_card(folder)


def test_a_card_that_could_not_be_read_back_is_not_written(folder: Path) -> None:
    for card in (make_card(gsd_m=-1.0), make_card(sha256="0" * 64), make_card(mean=(0.0,))):
        with pytest.raises(ModelError):
            write_card(folder, card)
    assert not (folder / "card.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00"])
def test_a_damaged_card_is_one_sentence(content: str, folder: Path) -> None:
    (folder / "card.json").write_text(content)
    with pytest.raises(ModelError, match=r"card\.json"):
        read_card(folder)


def test_no_card_is_one_sentence(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"card\.json does not exist"):
        read_card(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=60)
@given(name=st.sampled_from([field.name for field in fields(ModelCard)]), value=JSON)
def test_no_value_gets_past_as_anything_but_a_card_or_a_model_error(name: str, value: Any) -> None:
    try:
        card = card_from_mapping({**asdict(make_card()), name: value}, source="card.json")
    except ModelError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(card, ModelCard)


def test_the_hash_of_shards_depends_on_their_order_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"second")
    (tmp_path / "a.safetensors").write_bytes(b"first")
    index = {"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_sha256(tmp_path) == hashlib.sha256(b"firstsecond").hexdigest()


def test_an_unknown_key_of_any_length_is_named_in_one_readable_sentence(folder: Path) -> None:
    write_card(folder, make_card())
    rewrite(folder, **{"k" * 500: 1})
    with pytest.raises(ModelError, match=r"unknown key 'k{59}…'; a model card has name, classes") as raised:
        read_card(folder)
    assert "k" * 60 not in str(raised.value)


def test_a_value_of_any_length_is_quoted_in_bounded_length(folder: Path) -> None:
    write_card(folder, make_card())
    rewrite(folder, bands=["b" * 500])
    with pytest.raises(ModelError, match="bands must be a list of distinct names") as raised:
        read_card(folder)
    assert "b" * 60 not in str(raised.value)
