"""The card of a training run: what the run says of itself. A card that is given adds only what the run cannot know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.detectors.card import calibration_from_mapping, card_from_mapping
from pipeline.detectors.modules.features import RESNET
from pipeline.errors import ConfigError
from pipeline.evaluation.report import EVALUATOR
from pipeline.names import brief, listed
from pipeline.training.normalisation import pixel_statistics
from pipeline.training.run_record import RunRecord, plain_numbers
from pipeline.types import Calibration, ModelCard

INPUT_PX = 512
"""Side of the network's input where nothing says another one: what ``validate`` looks at."""
ADDED = ("licence", "longest_object_m", "input_px")
"""What a run cannot know, or only guess: a given card's value is taken over as it is."""
COMPARED = ("bands", "gsd_m", "mean", "std")
"""What decides how pixels are shown to the network: a given card may say it where the run does not, or the same."""
_FIGURES = ("ap50", "ap75", "ap50_95", "precision", "recall", "f1", "intervals_95", "right", "wrong", "missed")


def stated_card(path: Path) -> dict[str, Any]:
    """The keys of the card in ``path``, every one of them checked as a card's. Raises ConfigError, ModelError."""
    try:
        fields = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read the card {path}: {error}") from error
    bands = fields.get("bands", ["red", "green", "blue"])
    count = len(bands) if isinstance(bands, list) else 0
    filler = {"name": "any", "classes": ["any"], "gsd_m": None, "bands": bands, "input_px": INPUT_PX,
              "sha256": "0" * 64, "mean": [0.0] * count, "std": [1.0] * count}  # fmt: skip
    card = card_from_mapping({**filler, **fields}, source=str(path))
    return {key: value for key, value in asdict(card).items() if key in fields}


def run_card(
    *,
    name: str,
    class_count: int,
    record: RunRecord | None,
    validations: Sequence[Mapping[str, Any]],
    stated: Mapping[str, Any],
    source: str,
    oriented: bool = True,
) -> tuple[ModelCard, list[str]]:
    """The card of a run (its sha256 is still to be set), and one note for whatever of ``stated`` was not taken over.

    ``validations`` are those of the very weights; ``source`` is where ``stated`` comes from. Raises ConfigError for a
    given card of another number of classes, other bands, normalisation or metres per pixel than the run's, and when
    nothing names the classes.
    """  # fmt: skip
    known: dict[str, Any] = dict(zip(("mean", "std"), pixel_statistics(RESNET, 3), strict=True))
    if record is not None:
        known = {"bands": record.bands, "mean": record.mean, "std": record.std}
        known |= {} if record.gsd_m is None else {"gsd_m": record.gsd_m}
    for key in COMPARED:
        if key in stated and key in known and not _same(stated[key], known[key]):
            raise ConfigError(
                f"{source}: {key} is {_shown(stated[key])}, but the run was trained with {_shown(known[key])}: "
                "correct the card, or leave the key out"
            )
    threshold = [
        one["score_threshold"] for one in validations
        if one.get("score_threshold_chosen_here") and not one.get("trained_on") and one["score_threshold"] is not None
    ]  # fmt: skip
    tile = [one["tile_px"] for one in validations if "tile_px" in one]
    fields = {
        "bands": ("red", "green", "blue"), "gsd_m": None, "input_px": next(iter(tile), INPUT_PX),
        "longest_object_m": _longest_m(record),
        **{key: stated[key] for key in (*ADDED, *COMPARED) if key in stated}, **known,
        "name": name, "classes": _classes(class_count, record, stated, source), "oriented": oriented,
        "training_data": _data(record), "metrics": _metrics(validations), "calibration": _calibration(validations),
        **({"score_threshold": round(threshold[-1], 4)} if threshold else {}),
    }  # fmt: skip
    notes = [
        f"{key} of {source} is not taken over: {why}"
        for key, why in (
            ("name", f"the run is called {name} (--name gives another)"),
            ("classes", "the run names them"),
            ("score_threshold", "'validate' chooses it on held-out scenes, or --score-threshold says it"),
            ("training_data", "the run knows its own"),
            ("metrics", "figures are of the weights they were measured with"),
            ("calibration", "'validate' measures it on held-out scenes"),
        )
        if key in stated and not _same(stated[key], fields.get(key))
    ]
    if fields["calibration"] and record is not None and record.init:
        notes.append("the calibration's scenes are none of this run's; what --init was trained on is not known here")
    return ModelCard(**{**fields, "sha256": ""}), notes


def _classes(count: int, record: RunRecord | None, stated: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """The run's names; those of the given card for a run of an older version, which has none."""
    given = stated.get("classes")
    if given is not None and len(given) != count:
        raise ConfigError(
            f"{source} names {len(given)} {'class' if len(given) == 1 else 'classes'} ({listed(given)}), but the "
            f"run learnt {count}{': ' + listed(record.classes) if record and record.classes else ''}: "
            "give the card of this run, or none"
        )
    if record is not None and record.classes:
        return record.classes
    if given is None:
        raise ConfigError('the run does not know the names of its classes: give --card FILE with its "classes"')
    return tuple(given)


def _longest_m(record: RunRecord | None) -> float | None:
    """The longest object that was trained on, metres; None where its pixels have no size on the ground."""
    longest_px = max((one.longest_px for one in record.data), default=0.0) if record else 0.0
    return None if record is None or record.gsd_m is None or not longest_px else round(longest_px * record.gsd_m, 1)


def _data(record: RunRecord | None) -> str | None:
    if record is None:
        return None
    parts = [
        f"{Path(one.folder).name} ({len(one.scenes)} scenes, {one.objects} objects, share {one.share:g}, "
        f"sha256 {one.sha256[:12]})"
        for one in record.data
    ]
    recipe = f"; by the recipe {record.recipe['name']}, sha256 {record.recipe['sha256'][:12]}" if record.recipe else ""
    start = (
        f"; from the weights {Path(record.init['folder']).name}, sha256 {record.init['sha256'][:12]}"
        if record.init
        else ""
    )
    return "; ".join(parts) + start + recipe


def _metrics(validations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of every validation, by folder; each says which scenes, and how many of them were trained on."""
    if not validations:
        return {}
    found: dict[str, Any] = {"evaluator": f"on prepared scenes: {EVALUATOR}"}
    for one in validations:
        names, trained = one["names"], one["trained_on"]
        held = "not known whether trained on" if trained is None else f"{len(trained)} of them trained on"
        if chose := one.get("chosen_by"):
            held += f", {len(chose)} of them chose these weights"
        label = Path(one["scenes"]).name
        while label in found:
            label += "'"
        found[label] = {
            "data": f"{len(names)} scenes ({', '.join(names[:8])}{' …' if len(names) > 8 else ''}), {held}, "
            f"sha256 {one['data_sha256'][:12]}",
            "score_threshold": plain_numbers(one["score_threshold"]), "step": one["step"], "tile_px": one["tile_px"],
            **{key: plain_numbers(one[key]) for key in _FIGURES if key in one},
        }  # fmt: skip
    return found


def _calibration(validations: Sequence[Mapping[str, Any]]) -> Calibration | None:
    """What the last validation measured of which no scene was trained on, for certain; None where there is none."""
    held_out = [one["calibration"] for one in validations if one.get("calibration") and one.get("trained_on") == []]
    return calibration_from_mapping(held_out[-1]) if held_out else None


def _same(a: Any, b: Any) -> bool:
    return bool(list(a) == list(b)) if isinstance(a, list | tuple) and isinstance(b, list | tuple) else bool(a == b)


def _shown(value: Any) -> str:
    return listed(value) if isinstance(value, list | tuple) else brief(str(value))
