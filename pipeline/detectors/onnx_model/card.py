"""The card of an ONNX file: from its metadata and the files beside it, and what nobody says is asked for.

Beside ``best.onnx`` may lie ``best.card.json``, with any keys of a card, ``layout`` and ``activation``; it wins. Of
files that others write, ``best.export_meta.json`` (oriented-det) is read. Metadata is Ultralytics' (``names``,
``imgsz``, ``stride``, ``task``, ``license``, Python literals as text) or our own (``kestrel``, a card as JSON).
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.detectors.card import LARGEST_INPUT_PX, LONGEST_TEXT, MOST_CLASSES, card_from_mapping, card_path
from pipeline.detectors.checkpoint import read_json
from pipeline.detectors.onnx_model.graph import Graph
from pipeline.detectors.onnx_model.layout import KESTREL, Answers, Hints, find_answers
from pipeline.detectors.onnx_model.network_input import STRIDE, Picture, find_picture
from pipeline.detectors.onnx_model.probing import is_vague, probed
from pipeline.detectors.onnx_model.session import version
from pipeline.errors import ModelError
from pipeline.names import brief, quoted
from pipeline.types import ModelCard
from pipeline.types.cards import RGB

USUAL_INPUT_PX = 640
"""Of a network that takes any size and does not say which it was trained with."""
LONGEST_LITERAL = 200_000
LARGEST_STRIDE = 256
_EXAMPLE = {"classes": ["plane", "ship"], "gsd_m": 0.3}
_STATISTICS = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All that is known of a file before it runs."""

    graph: Graph
    card: ModelCard
    answers: Answers
    picture: Picture
    stride: int


def describe(graph: Graph) -> Description:
    """What the file is, from itself and what lies beside it. Raises ModelError for what does not fit or is not said."""
    picture = find_picture(graph)
    path = card_path(graph.path)
    beside = _stated(read_json(path)) if path.is_file() else {}
    layout, activation = beside.pop("layout", None), beside.pop("activation", graph.metadata.get("activation"))
    told = {**_ultralytics(graph, picture), **_oriented_det(graph.path), **_ours(graph)}
    content = {**told, **beside}
    hints = Hints(
        classes=_count_classes(graph, told.get("classes"), beside.get("classes")),
        layout=None if layout is None else str(layout),
        activation=None if activation is None else str(activation),
        task=graph.metadata.get("task"),
        model=graph.metadata.get("description"),
        family=graph.metadata.get("model_family"),
        selects=_has_nms(graph) or _truth(graph.metadata.get("end2end")),
        area_px=picture.area_px,
    )
    # Ours pads itself, and then knows what is picture: what is padded here would be black picture to it.
    stride = 1 if KESTREL in graph.metadata else _stride(graph.metadata.get("stride"))
    try:
        answers = find_answers(graph, hints)
    except ModelError:
        if hints.layout is not None or not is_vague(graph):
            raise
        graph, area_px = probed(graph, picture, stride)
        answers = find_answers(graph, replace(hints, area_px=area_px))
    card = _card(graph, picture, answers, content)
    said = _sentence(graph, answers, card, hints)
    return Description(
        graph=graph,
        # A corrected layout means other boxes of the same weights: what was found by the wrong one is not gone on with.
        card=replace(card, runtime=f"{version()}, as {answers.layout.name}", described=said),
        answers=answers,
        picture=picture,
        stride=stride,
    )


def _stated(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value is not None}


def _ask(path: Path, keys: set[str]) -> str:
    example = {key: value for key, value in {**_EXAMPLE, **_STATISTICS}.items() if key in keys}
    return f"write {path.name} beside it, for example {json.dumps(example)}"


def _count_classes(graph: Graph, told: Any, beside: Any) -> int:
    """How many there are, by the card beside the file or what came with it, which must agree."""
    for said, source in ((beside, card_path(graph.path)), (told, graph.path)):
        if said is not None and not isinstance(said, list):
            raise ModelError(f"{source}: classes must be a list of names, got {quoted(said)}")
    if isinstance(told, list) and isinstance(beside, list) and len(told) != len(beside):
        raise ModelError(
            f"{card_path(graph.path)} names {len(beside)} classes, and the file itself {len(told)}: name them all, in "
            "the file's order"
        )
    classes = told if beside is None else beside
    if not classes:
        asked = _ask(card_path(graph.path), {"classes", "gsd_m"})
        raise ModelError(f"{graph.path} does not say what its classes are: {asked}")
    return len(classes)


def _card(graph: Graph, picture: Picture, answers: Answers, content: Mapping[str, Any]) -> ModelCard:
    path = card_path(graph.path)
    layout, bands = answers.layout, picture.bands
    if "bands" in content and isinstance(content["bands"], list) and len(content["bands"]) != bands:
        raise ModelError(f"{path} names {len(content['bands'])} bands, and the file takes {bands}")
    plain = {"mean": [0.0] * bands, "std": [1.0] * bands}
    given = {"mean", "std"} & content.keys()
    if len(given) == 1:
        raise ModelError(f"{path} or {graph.path.name} gives {given.pop()} alone: give mean and std, or neither")
    known = bool(given)
    usual = layout.plain and "names" in graph.metadata
    if not known and not (usual or picture.raw):
        raise ModelError(
            f"{graph.path} does not say how its pixels are normalised: {_ask(path, {'classes', 'mean', 'std'})}"
            " (0 and 1 where it takes pixels / 255 as they are, as most YOLOs do)"
        )
    if picture.raw and KESTREL not in graph.metadata and known:
        raise ModelError(
            f"{path} gives mean or std, and the file takes pixels from 0 to 255 as they are: leave them out"
        )
    if content.get("oriented", layout.oriented) != layout.oriented:
        raise ModelError(f"{path} says oriented: {quoted(content['oriented'])}, but the file is {layout.title}")
    derived = {
        "name": _name(graph.path),
        "gsd_m": None,
        "bands": list(RGB) if bands == len(RGB) else [f"band_{number + 1}" for number in range(bands)],
        **(plain if not known else {}),
    }
    sha256 = content.get("sha256", graph.sha256)
    card = card_from_mapping(
        {**derived, **content, "input_px": _input_px(graph, picture, content), "sha256": sha256,
         "oriented": layout.oriented},
        source=str(path if path.is_file() else graph.path),
    )  # fmt: skip
    if card.sha256 != graph.sha256:
        raise ModelError(
            f"{path} is for weights with sha256 {card.sha256[:12]}…, but {graph.path.name} has {graph.sha256[:12]}…: "
            "copy card and file from the same place"
        )
    return card


def _name(path: Path) -> str:
    """The file's, but for ``model``, which is every model's: the folder's, or of the hub's cache the name there."""
    if path.stem != "model":
        return path.stem
    parts = Path(os.path.abspath(path)).parts  # noqa: PTH100 - not resolved: the hub's cache is of links
    found = [before for before, part in pairwise(parts) if part == "snapshots" and before.startswith("models--")]
    return found[-1].rsplit("--", 1)[-1] if found else parts[-2]


def _input_px(graph: Graph, picture: Picture, content: Mapping[str, Any]) -> Any:
    """Side of a tile that the network sees as it is."""
    fixed = [side for side in (picture.height, picture.width) if side is not None]
    if not fixed:
        return content.get("input_px", USUAL_INPUT_PX)
    asked = content.get("input_px", min(fixed))
    if isinstance(asked, int) and asked > min(fixed) and "input_px" in content:
        raise ModelError(
            f"{card_path(graph.path)} says input_px: {asked}, but the file takes {min(fixed)} px: leave it out"
        )
    return asked


def _ultralytics(graph: Graph, picture: Picture) -> dict[str, Any]:
    """Keys of a card from the metadata that Ultralytics and others after it write; what is no literal says nothing."""
    metadata = graph.metadata
    found: dict[str, Any] = {}
    names = _literal(metadata.get("names"))
    if isinstance(names, dict):
        by_number = {int(key): value for key, value in names.items() if str(key).isdecimal() and len(str(key)) < 9}
        if sorted(by_number) != list(range(len(names))):
            raise ModelError(
                f"{graph.path} numbers its classes with gaps: {_ask(card_path(graph.path), {'classes', 'gsd_m'})}"
            )
        names = [by_number[number] for number in range(len(names))]
    if isinstance(names, list) and 0 < len(names) <= MOST_CLASSES:
        found["classes"] = [str(name) for name in names]
    sides = _literal(metadata.get("imgsz"))
    sides = [sides] if isinstance(sides, int) else sides
    whole = isinstance(sides, list) and sides and all(isinstance(side, int) for side in sides)
    if whole and picture.height is None and picture.width is None and 0 < min(sides) <= LARGEST_INPUT_PX:
        found["input_px"] = min(sides)
    licence = metadata.get("license") or metadata.get("licence")
    if licence and licence.strip():
        found["licence"] = " ".join(licence.split())[:LONGEST_TEXT]
    return found


def _literal(text: str | None) -> Any:
    """A Python literal (or JSON, of numbers, texts, lists and objects); None where it is none, or endless."""
    if not text or len(text) > LONGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _truth(text: str | None) -> bool | None:
    return {"true": True, "false": False}.get((text or "").strip().lower())


def _has_nms(graph: Graph) -> bool:
    """Whether the metadata says that it was exported with NMS inside: then it selects its boxes, whatever it is."""
    return "'nms': True" in graph.metadata.get("args", "")


def _stride(text: str | None) -> int:
    stride = _literal(text)
    return stride if isinstance(stride, int) and 1 <= stride <= LARGEST_STRIDE else STRIDE


def _oriented_det(path: Path) -> dict[str, Any]:
    """Keys of a card from ``best.export_meta.json``, which oriented-det writes beside ``best.onnx``."""
    beside = path.with_suffix(".export_meta.json")
    if not beside.is_file():
        return {}
    content = read_json(beside)
    keys = {
        "class_names": "classes",
        "normalize_mean": "mean",
        "normalize_std": "std",
        "score_threshold": "score_threshold",
    }
    return {ours: content[theirs] for theirs, ours in keys.items() if content.get(theirs) not in (None, [])}


def _ours(graph: Graph) -> dict[str, Any]:
    """The card that our own export puts into the file; its hash is of the weights that were exported."""
    text = graph.metadata.get(KESTREL)
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{graph.path}: the card inside is no JSON: export it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{graph.path}: the card inside is no JSON object: export it again")
    return _stated({key: value for key, value in content.items() if key != "sha256"})


def _sentence(graph: Graph, answers: Answers, card: ModelCard, hints: Hints) -> str:
    """What was found out, for people, once a run; and where the file contradicts itself."""
    shapes = ", ".join(str(port) for port in graph.outputs if port.name in answers.names)
    classes = "1 class" if len(card.classes) == 1 else f"{len(card.classes)} classes"
    said = (
        f"{graph.path.name} is read as {answers.layout.title}: {shapes}, {classes}, "
        f"licence {brief(card.licence or 'unknown')}"
    )
    if hints.task in ("detect", "obb") and (hints.task == "obb") != card.oriented:
        said += f"; its metadata says task {hints.task}, and its shapes do not: the shapes are believed"
    if _has_nms(graph):
        said += "; it was exported with NMS inside, which may lose neighbours: export it with nms=False"
    return said
