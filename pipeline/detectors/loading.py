"""The one place where the name of a model becomes a class. Importing it does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pipeline.detectors import oriented_fcos, oriented_rtdetr, transformers_detr
from pipeline.detectors.checkpoint import CONFIG, model_type
from pipeline.detectors.protocol import Detector
from pipeline.detectors.runtime import ONNX, TORCH, Traceable, runtime_name, settled
from pipeline.detectors.torch_process import prepare_torch
from pipeline.errors import ConfigError, ModelError
from pipeline.names import quoted
from pipeline.types import ModelCard


class Family(Protocol):
    """What the ``__init__`` of a folder of detectors offers. None of it imports torch before ``load`` is called."""

    @property
    def MODEL_TYPES(self) -> tuple[str, ...]:  # noqa: N802 - a constant of a module
        """``model_type`` of the checkpoints it loads."""
        ...

    def load(self, folder: Path, *, device: str, precision: str) -> Detector:
        """The detector in ``folder``, in inference mode. Raises ModelError when anything in it does not fit."""
        ...

    def read_card(self, folder: Path) -> ModelCard:
        """What that detector's ``card`` will be, without building its network. Raises ModelError."""
        ...


def _by_model_type(*families: Family) -> dict[str, Family]:
    return {kind: family for family in families for kind in family.MODEL_TYPES}


FAMILIES = _by_model_type(
    transformers_detr,
    oriented_rtdetr,
    oriented_fcos,
)
"""Model type → the family that loads it. A new family is a folder, and a line here."""

TRACEABLE = (oriented_rtdetr, oriented_fcos)
"""Families whose detectors ONNX Runtime can run too (:class:`~pipeline.detectors.runtime.Traceable`)."""


def load_detector(
    folder: Path, *, device: str = "cpu", precision: str = "float32", threads: int | None = None, runtime: str = TORCH
) -> Detector:
    """The detector in a checkpoint folder, in inference mode on ``device`` (``cpu``, ``cuda``, ``cuda:1``).

    ``precision`` is float32, bfloat16 or float16 (GPU only); ``threads`` sets torch's CPU threads for the whole
    process. On a GPU the deterministic kernels are chosen where there are any. ``runtime`` is ``torch``, ``onnx``, or
    ``auto``, which is the latter wherever it can be. Raises ModelError when the folder is no checkpoint of a known
    detector or its weights do not fit, ConfigError for a device, precision or runtime that cannot be.
    """
    family = family_of(folder)
    if precision == "float16" and device == "cpu":
        raise ConfigError("detector.dtype=float16 needs a GPU; on a CPU use float32 or bfloat16")
    prepare_torch(device, threads)
    chosen = settled(runtime, traceable=family in TRACEABLE, device=device, precision=precision)
    detector = family.load(folder, device=device, precision=precision)
    if chosen == ONNX:
        assert isinstance(detector, Traceable), f"{family} is traceable, its detectors are not"
        detector.by_onnxruntime(threads)
    return detector


def read_model_card(folder: Path) -> ModelCard:
    """What a detector says about itself, without building its network (planning needs no torch).

    Our own checkpoints have a ``card.json``; a foreign one is described by its ``config.json`` and
    ``preprocessor_config.json`` (GSD unknown), overlaid by the keys of a ``card.json`` beside them. Raises ModelError.
    """
    return family_of(folder).read_card(folder)


def runtime_of(folder: Path, *, device: str, precision: str, runtime: str) -> str | None:
    """What runs the detector in ``folder`` where that is not torch; see :func:`load_detector` for what is raised."""
    traceable = family_of(folder) in TRACEABLE
    chosen = settled(runtime, traceable=traceable, device=device, precision=precision)
    return runtime_name(device) if chosen == ONNX else None


def family_of(folder: Path) -> Family:
    """Who loads the checkpoint in ``folder``. Raises ModelError when it is none, or of no detector that is known."""
    kind = model_type(folder)
    if kind not in FAMILIES:
        raise ModelError(
            f"{folder / CONFIG} describes a {quoted(kind)}, which is no detector this program knows: "
            f"use one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[kind]
