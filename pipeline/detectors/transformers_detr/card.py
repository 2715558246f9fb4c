"""The model card of a checkpoint that was not made here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.detectors.card import CARD, MOST_CLASSES, card_from_mapping, check_sha256
from pipeline.detectors.checkpoint import CONFIG, read_json, weights_sha256
from pipeline.detectors.transformers_detr.licence import stated_licence
from pipeline.detectors.transformers_detr.preprocessing import FloatImage, Preprocessing, read_preprocessing
from pipeline.detectors.transformers_detr.settings import PREPROCESSOR, band_names, card_overlay
from pipeline.errors import ModelError
from pipeline.names import brief
from pipeline.types import ModelCard


def foreign_card(folder: Path, kind: str) -> ModelCard:
    """The card of a checkpoint that was not made here: from its own files, overlaid by ``card.json`` where it has one.

    A foreign ``card.json`` may hold any subset of the keys, e.g. only ``{"gsd_m": 0.3}``. Raises ModelError.
    """
    preprocessing = read_preprocessing(folder, kind)
    config, overlay = read_json(folder / CONFIG), card_overlay(folder)
    mean, std = _normalisation(preprocessing.table)
    derived = {
        "name": str(config.get("_name_or_path") or folder.resolve().name),
        "classes": _classes(config),
        "gsd_m": None,
        "bands": band_names(folder),
        "input_px": _input_px(preprocessing),
        "sha256": overlay.get("sha256") or weights_sha256(folder),
        "mean": mean,
        "std": std,
        "licence": stated_licence(folder),
    }
    card = card_from_mapping({**derived, **overlay}, source=str(folder / CARD))
    if "sha256" in overlay:
        check_sha256(folder, card.sha256)
    said = f"{card.name} is a {brief(kind)} of the transformers library, {len(card.classes)} classes, "
    return replace(
        card,
        settings_sha256=_settings_sha256(folder),
        described=f"{said}licence {brief(card.licence or 'unknown')}",
    )


def _settings_sha256(folder: Path) -> str:
    """Hex digest over what ``config.json`` and ``preprocessor_config.json`` say, however it is set out."""
    settings = [read_json(folder / name) if (folder / name).exists() else None for name in (CONFIG, PREPROCESSOR)]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _normalisation(table: FloatImage) -> tuple[list[float], list[float]]:
    """The card's mean and standard deviation (of pixels / 255) from the table, which is a straight line per band."""
    first, last = table[:, 0].astype(np.float64), table[:, 255].astype(np.float64)
    std = 1 / (last - first)
    return [round(float(value), 6) for value in -first * std], [round(float(value), 6) for value in std]


def _input_px(preprocessing: Preprocessing) -> int:
    """Side of the square chip the network sees as it is: nothing is gained by larger tiles."""
    if preprocessing.size is None:
        return 640
    sides = preprocessing.size
    return min(sides.values()) if "shortest_edge" in sides else max(sides.values())


def _classes(config: Mapping[str, Any]) -> list[str]:
    """Class names in the order of the network's answers; the library's own placeholders where none are given."""
    labels = config.get("id2label")
    if not isinstance(labels, dict) or not labels:
        count = config.get("num_labels")
        count = 2 if count is None else count
        if not isinstance(count, int) or not 1 <= count <= MOST_CLASSES:
            raise ModelError(f"{CONFIG}: num_labels must be a whole number from 1 to {MOST_CLASSES}")
        return [f"LABEL_{number}" for number in range(count)]
    return [str(labels.get(str(number), f"LABEL_{number}")) for number in range(len(labels))]
