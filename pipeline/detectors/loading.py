"""The one place where the name of a model becomes a class. Importing it does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pipeline.detectors import onnx_model, oriented_fcos, oriented_rtdetr, transformers_detr
from pipeline.detectors.checkpoint import CONFIG, model_type
from pipeline.detectors.protocol import Detector
from pipeline.detectors.runtime import ONNX, TORCH, Traceable, runtime_name, settled
from pipeline.errors import ConfigError, ModelError
from pipeline.names import quoted
from pipeline.types import ModelCard


class Family(Protocol):
    """What the ``__init__`` of a folder of detectors offers. None of it imports torch before ``load`` is called."""

    @property
    def MODEL_TYPES(self) -> tuple[str, ...]:  # noqa: N802 - a constant of a module
        """``model_type`` of the checkpoints it loads."""
        ...

    def load(self, folder: Path, *, device: str, precision: str, threads: int | None) -> Detector:
        """The detector in ``folder``, in inference mode. Raises ModelError when anything in it does not fit."""
        ...

    def best_device(self) -> str:
        """``cuda`` where this process may use a GPU for it (Ray hides the others), else ``cpu``."""
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
    onnx_model,
)
"""Model type → the family that loads it. A new family is a folder, and a line here."""

TRACEABLE = (oriented_rtdetr, oriented_fcos)
"""Families whose detectors ONNX Runtime can run too (:class:`~pipeline.detectors.runtime.Traceable`)."""


def load_detector(
    folder: Path, *, device: str = "cpu", precision: str = "float32", threads: int | None = None, runtime: str = TORCH
) -> Detector:
    """The detector in a checkpoint folder or an ONNX file, in inference mode on ``device`` (``cpu``, ``cuda``,
    ``cuda:1``, or ``auto``: a GPU where there is one).

    ``precision`` is float32, bfloat16 or float16 (GPU only); ``threads`` sets the CPU threads of the network, torch's
    for the whole process. On a GPU the deterministic kernels are chosen where there are any. ``runtime`` is ``torch``,
    ``onnx``, or ``auto``, which is the latter wherever it can be. Raises ModelError when the folder is no checkpoint of
    a known detector or its weights do not fit, ConfigError for a device, precision or runtime that cannot be.
    """
    family = family_of(folder)
    device = family.best_device() if device == "auto" else device
    if precision == "float16" and device == "cpu":
        raise ConfigError("detector.dtype=float16 needs a GPU; on a CPU use float32 or bfloat16")
    chosen = _settled(family, runtime, device, precision)
    detector = family.load(folder, device=device, precision=precision, threads=threads)
    if chosen == ONNX and family in TRACEABLE:
        assert isinstance(detector, Traceable), f"{family} is traceable, its detectors are not"
        detector.by_onnxruntime(threads)
    return detector


def read_model_card(folder: Path) -> ModelCard:
    """What a detector says about itself, without building its network (planning needs no torch).

    Our own checkpoints have a ``card.json``; a foreign one is described by its ``config.json`` and
    ``preprocessor_config.json`` (GSD unknown), overlaid by the keys of a ``card.json`` beside them; an ONNX file by its
    metadata and the card beside it. Raises ModelError.
    """
    return family_of(folder).read_card(folder)


def runtime_of(folder: Path, *, device: str, precision: str, runtime: str) -> str | None:
    """What runs the detector in ``folder`` where that is ONNX Runtime in torch's place; raises as
    :func:`load_detector`."""
    family = family_of(folder)
    if family is onnx_model and runtime == TORCH:
        raise ConfigError("detector.runtime=torch is not for ONNX files; leave it out")
    traced = _settled(family, runtime, device, precision) == ONNX and family in TRACEABLE
    return runtime_name(device) if traced else None


def _settled(family: Family, runtime: str, device: str, precision: str) -> str:
    """``torch`` or ``onnx``; see :func:`~pipeline.detectors.runtime.settled`. An ONNX file leaves no choice."""
    if family is onnx_model:
        return ONNX
    return settled(runtime, traceable=family in TRACEABLE, device=device, precision=precision)


def family_of(folder: Path) -> Family:
    """Who loads the checkpoint in ``folder``. Raises ModelError when it is none, or of no detector that is known."""
    kind = model_type(folder)
    if kind not in FAMILIES:
        raise ModelError(
            f"{folder / CONFIG} describes a {quoted(kind)}, which is no detector this program knows: "
            f"use one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[kind]
