"""Model cards: ``card.json`` beside the weights, read into :class:`~pipeline.types.ModelCard`. No torch.

The keys of the file are the fields of the dataclass, so the two can never drift apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from pipeline.detectors.checkpoint import read_json, weights_sha256
from pipeline.detectors.foreign_files import onnx_file
from pipeline.errors import ModelError
from pipeline.names import quoted
from pipeline.types import Calibration, ModelCard

CARD = "card.json"
LARGEST = 1e6
"""No number of a card is larger, or smaller above 0 than its inverse: metres, pixels, normalisation."""
LONGEST_NAME, LONGEST_TEXT = 200, 20_000
MOST_CLASSES = 100_000
LARGEST_INPUT_PX = 16_384
MOST_POINTS = 10_000
FOUND_OUT = ("settings_sha256", "runtime", "described")
"""Fields of a card that no file holds."""


def read_card(folder: Path) -> ModelCard:
    """The validated card of one of our own checkpoints.

    Raises ModelError when ``card.json`` is missing, a key is unknown, missing or ill-typed (the key is named), or
    the weights beside it are not those the card speaks of.
    """
    path = folder / CARD
    card = card_from_mapping(read_json(path), source=str(path))
    check_sha256(folder, card.sha256)
    return card


def write_card(folder: Path, card: ModelCard) -> Path:
    """Write ``folder/card.json`` by rename, so that it is never half there. Returns its path.

    Raises ModelError when the card would not be read back, or its sha256 is not that of the weights in ``folder``.
    """
    path = folder / CARD
    content = card_content(card)
    card_from_mapping(content, source=str(path))
    check_sha256(folder, card.sha256)
    return _write(path, content)


def card_content(card: ModelCard) -> dict[str, Any]:
    """What a file says of a detector: decoded JSON."""
    return {key: value for key, value in json.loads(json.dumps(asdict(card))).items() if key not in FOUND_OUT}


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def card_path(weights: Path) -> Path:
    """Where the card of these weights lies: ``card.json`` in their folder, ``best.card.json`` beside ``best.onnx``."""
    single = onnx_file(weights)
    return weights / CARD if single is None else single.with_suffix(f".{CARD}")


def check_sha256(folder: Path, expected: str) -> None:
    """Raise ModelError unless the weights in ``folder`` have this SHA-256."""
    actual = weights_sha256(folder)
    if actual != expected:
        raise ModelError(
            f"{card_path(folder)} is for weights with sha256 {expected[:12]}…, but those beside it have "
            f"{actual[:12]}…: copy card and weights from the same place"
        )


def card_from_mapping(content: Mapping[str, Any], *, source: str) -> ModelCard:
    """A card from decoded JSON; ``source`` is named in errors. Raises ModelError that names the offending key."""
    known = {field.name: field for field in fields(ModelCard) if field.name not in FOUND_OUT}
    content = {name: value for name, value in content.items() if name not in FOUND_OUT or value is not None}
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise ModelError(f"{source}: unknown key {quoted(unknown[0])}; a model card has {', '.join(known)}")
    optional = {
        name for name, field in known.items() if field.default is not MISSING or field.default_factory is not MISSING
    }
    missing = [name for name in known if name not in content and name not in optional]
    if missing:
        raise ModelError(f"{source}: the key {missing[0]!r} is missing")
    for name, value in content.items():
        accepts, wanted = _RULES[name]
        if not accepts(value):
            raise ModelError(f"{source}: {name} must be {wanted}, got {quoted(value)}")
    checked = _as_tuples(content)
    if checked.get("calibration") is not None:
        checked["calibration"] = calibration_from_mapping(checked["calibration"])
    card = ModelCard(**checked)
    return _consistent(card, source)


def calibration_from_mapping(content: Mapping[str, Any]) -> Calibration:
    """A calibration from decoded JSON, as the key ``calibration`` of a card holds it."""
    return Calibration(**_as_tuples(content))


def add_calibration(folder: Path, calibration: Calibration) -> Path:
    """Put ``calibration`` into ``folder/card.json``, whose other keys stay as they are, by rename. Returns its path.

    A foreign checkpoint without a card gets one that holds it, and the hash of the weights that it is of. Raises
    ModelError when the card that is there is none of these weights.
    """
    path = card_path(folder)
    content = read_json(path) if path.is_file() else {}
    actual = weights_sha256(folder)
    if content.get("sha256") not in (None, actual):
        check_sha256(folder, str(content["sha256"]))
    return _write(path, {**content, "sha256": actual, "calibration": asdict(calibration)})


def _as_tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _consistent(card: ModelCard, source: str) -> ModelCard:
    """What single keys cannot show: one mean and one standard deviation per band."""
    given = {"mean": card.mean, "std": card.std}
    for name, values in given.items():
        if len(values) != len(card.bands):
            raise ModelError(f"{source}: {name} has {len(values)} values for {len(card.bands)} bands")
    return card


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _is_positive(value: object) -> bool:
    return _is_number(value) and value >= 1 / LARGEST  # type: ignore[operator]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_TEXT


def _is_name(value: object) -> bool:
    return _is_text(value) and len(str(value)) <= LONGEST_NAME and str(value).isprintable()


def _is_list_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and len(value) > 0 and all(accepts(item) for item in value)


def _is_distinct_texts(value: Any) -> bool:
    return _is_list_of(_is_name)(value) and len(set(value)) == len(value)


def _or_null(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or accepts(value)


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1  # type: ignore[operator]


def _is_line(value: Mapping[str, Any]) -> bool:
    """Points of a calibration: scores that rise, and shares that do not fall."""
    scores, shares = value["scores"], value["precision"]
    if not all(_is_list_of(_is_share)(one) and len(one) <= MOST_POINTS for one in (scores, shares)):
        return False
    return len(scores) == len(shares) and sorted(set(scores)) == list(scores) and sorted(shares) == list(shares)


def _is_calibration(value: object) -> bool:
    known = {field.name for field in fields(Calibration)}
    return (
        isinstance(value, Mapping)
        and known - {"flips"} <= set(value) <= known
        and _is_line(value)
        and _is_name(value["method"])
        and _is_number(value["boxes"]) and isinstance(value["boxes"], int) and value["boxes"] > 0
        and _is_share(value["iou"]) and value["iou"] > 0
        and _is_list_of(_is_name)(value["scenes"])
        and isinstance(value.get("flips", False), bool)
        and _is_share(value["ece_before"]) and _or_null(_is_share)(value["ece_after"])
    )  # fmt: skip


_CALIBRATION = ", ".join(field.name for field in fields(Calibration))
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_name, f"a text of one line, at most {LONGEST_NAME} characters"),
    "classes": (
        lambda value: _is_list_of(_is_name)(value) and len(value) <= MOST_CLASSES,
        f"a list of at most {MOST_CLASSES} names",
    ),
    "gsd_m": (_or_null(_is_positive), "metres above 0, or null"),
    "bands": (_is_distinct_texts, "a list of distinct names"),
    "input_px": (
        lambda value: _is_positive(value) and isinstance(value, int) and value <= LARGEST_INPUT_PX,
        f"a whole number of pixels above 0 and at most {LARGEST_INPUT_PX}",
    ),
    "sha256": (
        lambda value: isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"),
        "64 hexadecimal digits",
    ),
    "oriented": (lambda value: isinstance(value, bool), "true or false"),
    "score_threshold": (_is_share, "a number from 0 to 1"),
    "longest_object_m": (_or_null(_is_positive), "metres above 0, or null"),
    "mean": (_is_list_of(_is_number), "a list of numbers, one per band"),
    "std": (_is_list_of(_is_positive), "a list of numbers above 0, one per band"),
    "licence": (_or_null(_is_text), "a text, or null"),
    "training_data": (_or_null(_is_text), "a text, or null"),
    "metrics": (lambda value: isinstance(value, dict), "an object"),
    "calibration": (
        _or_null(_is_calibration),
        f"null, or an object with {_CALIBRATION}, where scores rise and their precision does not fall",
    ),
    "network": (_or_null(_is_distinct_texts), "null, or a list of distinct texts"),
}
