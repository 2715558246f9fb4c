"""Detectors as ONNX files, whoever exported them. Importing it imports neither onnx nor its runtime."""

from __future__ import annotations

from pathlib import Path

from pipeline.detectors.foreign_files import ONNX, onnx_file
from pipeline.detectors.protocol import Detector
from pipeline.errors import ModelError
from pipeline.types import ModelCard

__all__ = ["MODEL_TYPES", "best_device", "load", "read_card"]

MODEL_TYPES = (ONNX,)
"""What :func:`pipeline.detectors.checkpoint.model_type` says of these files."""


def load(folder: Path, *, device: str, precision: str, threads: int | None) -> Detector:
    """The detector in the file, or in the ``model.onnx`` of a folder. Raises ModelError when anything does not fit."""
    from pipeline.detectors.onnx_model import detector  # late: libraries that only these files need

    return detector.load(_file(folder), device=device, precision=precision, threads=threads or 1)


def read_card(folder: Path) -> ModelCard:
    """What the file says of itself, and the cards beside it. Raises ModelError."""
    from pipeline.detectors.onnx_model.card import describe
    from pipeline.detectors.onnx_model.graph import read_graph

    return describe(read_graph(_file(folder))).card


def best_device() -> str:
    """``cuda`` where the installed runtime finds a GPU, else ``cpu``. Raises ModelError when there is no runtime."""
    from pipeline.detectors.onnx_model import session

    return session.best_device()


def _file(weights: Path) -> Path:
    path = onnx_file(weights)
    if path is None:
        raise ModelError(f"{weights} is no ONNX file, and no folder with a model.onnx")
    return path
