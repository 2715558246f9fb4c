"""DETR-family checkpoints of the transformers library. Importing it does not import torch."""

from __future__ import annotations

from pathlib import Path

from pipeline.detectors.checkpoint import model_type
from pipeline.detectors.protocol import Detector
from pipeline.detectors.torch_process import best_device, prepare_torch
from pipeline.detectors.transformers_detr.card import foreign_card
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES as _TYPES
from pipeline.types import ModelCard

__all__ = ["MODEL_TYPES", "best_device", "load", "load_transformers_detr", "read_card"]

MODEL_TYPES = tuple(_TYPES)
"""``model_type`` of the checkpoints that this family loads."""


def load(folder: Path, *, device: str, precision: str, threads: int | None = None) -> Detector:
    """The detector in ``folder``. Raises ModelError when anything in it does not fit."""
    from pipeline.detectors.transformers_detr import detector  # late: torch takes seconds

    prepare_torch(device, threads)
    return detector.load(folder, device=device, precision=precision)


def load_transformers_detr(folder: Path, *, device: str = "cpu", precision: str = "float32") -> Detector:
    """:func:`load` by the name that others import it by: on the CPU unless something else is said."""
    return load(folder, device=device, precision=precision)


def read_card(folder: Path) -> ModelCard:
    """What the checkpoint says of itself, and its ``card.json`` where there is one. Raises ModelError."""
    return foreign_card(folder, model_type(folder))
