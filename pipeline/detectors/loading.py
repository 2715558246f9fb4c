"""The one place where the name of a model becomes a class. Importing it does not import torch."""

from __future__ import annotations

from pathlib import Path

from pipeline.detectors.card import read_card
from pipeline.detectors.checkpoint import model_type
from pipeline.detectors.protocol import Detector
from pipeline.detectors.torch_process import prepare_torch
from pipeline.detectors.transformers_detr.card import foreign_card
from pipeline.detectors.transformers_detr.settings import DEFAULTS
from pipeline.errors import ConfigError, ModelError
from pipeline.names import quoted
from pipeline.types import ModelCard

ORIENTED = "kestrel_oriented_rtdetr"
"""``model_type`` of our own checkpoints."""


def load_detector(
    folder: Path, *, device: str = "cpu", precision: str = "float32", threads: int | None = None
) -> Detector:
    """The detector in a checkpoint folder, in inference mode on ``device`` (``cpu``, ``cuda``, ``cuda:1``).

    ``precision`` is float32, bfloat16 or float16 (GPU only); ``threads`` sets torch's CPU threads for the whole
    process. On a GPU the deterministic kernels are chosen where there are any. Raises ModelError when the folder is
    no checkpoint of a known detector or its weights do not fit, ConfigError for a device or precision that cannot be.
    """
    kind = _known_model_type(folder)
    if precision == "float16" and device == "cpu":
        raise ConfigError("detector.precision=float16 needs a GPU; on a CPU use float32 or bfloat16")
    prepare_torch(device, threads)
    if kind == ORIENTED:
        from pipeline.detectors.oriented_rtdetr.detector import load_oriented

        return load_oriented(folder, device=device, precision=precision)
    from pipeline.detectors.transformers_detr.detector import load_transformers_detr

    return load_transformers_detr(folder, device=device, precision=precision)


def read_model_card(folder: Path) -> ModelCard:
    """What a detector says about itself, without building its network (planning needs no torch).

    Our own checkpoints have a ``card.json``; a foreign one is described by its ``config.json`` and
    ``preprocessor_config.json`` (GSD unknown), overlaid by the keys of a ``card.json`` beside them. Raises ModelError.
    """
    kind = _known_model_type(folder)
    return read_card(folder) if kind == ORIENTED else foreign_card(folder, kind)


def _known_model_type(folder: Path) -> str:
    kind = model_type(folder)
    if kind != ORIENTED and kind not in DEFAULTS:
        raise ModelError(
            f"{folder / 'config.json'} describes a {quoted(kind)}, which is no detector this program knows: "
            f"use one of {', '.join([*DEFAULTS, ORIENTED])}"
        )
    return kind
