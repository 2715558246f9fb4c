"""Our own dense detector: an FCOS whose boxes turn. Importing it does not import torch."""

from __future__ import annotations

from pathlib import Path

from pipeline.detectors.card import read_card
from pipeline.detectors.oriented_fcos.model_type import MODEL_TYPE
from pipeline.detectors.protocol import Detector
from pipeline.detectors.torch_process import best_device, prepare_torch

__all__ = ["MODEL_TYPES", "best_device", "load", "read_card"]

MODEL_TYPES = (MODEL_TYPE,)
"""``model_type`` of the checkpoints that this family loads."""


def load(folder: Path, *, device: str, precision: str, threads: int | None) -> Detector:
    """The detector in ``folder``. Raises ModelError when anything in it does not fit."""
    from pipeline.detectors.oriented_fcos import detector  # late: torch takes seconds

    prepare_torch(device, threads)
    return detector.load(folder, device=device, precision=precision)
