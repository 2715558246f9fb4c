"""A calibration into the card of a checkpoint: measured on annotated scenes that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.annotations.annotations import Annotations
from pipeline.detectors.card import add_calibration
from pipeline.detectors.foreign_files import onnx_file
from pipeline.errors import ConfigError, StorageError
from pipeline.evaluation.calibration import FEWEST_BOXES, calibrate
from pipeline.names import shown
from pipeline.types import Calibration, Detections

TOLD = (0.5, 0.8, 0.9)
"""Precisions whose score is said."""


def folder_to_calibrate(weights: str) -> Path:
    """The folder (or ONNX file) of ``--weights``, whose card is to be changed. Raises ConfigError for what is none of
    the user's: an embedded detector, an address, a name of the hub."""
    folder = Path(weights)
    if weights.startswith("builtin:") or not (folder.is_dir() or onnx_file(folder)):
        raise ConfigError(
            f"--calibrate writes into the card beside the weights, and --weights {shown(weights)} is no folder here: "
            "give a checkpoint folder, or a copy of one"
        )
    return folder


def calibrate_card(
    folder: Path, found: Mapping[str, Detections], truth: Mapping[str, Annotations], *, found_by: str, flips: bool
) -> tuple[Calibration, str]:
    """The calibration of the detector in ``folder``, now in its card, and what it is in one sentence.

    Both mappings hold the same scenes, by name; whether they were trained on nobody can tell here. ``found_by`` goes
    into the card: by whom the boxes were found. Raises ConfigError
    when they are too few to say anything, ModelError when the card is of other weights, StorageError when it cannot be
    written.
    """
    calibration = calibrate(list(truth), [found[name] for name in truth], list(truth.values()), flips=flips)
    if calibration is None:
        raise ConfigError(
            f"a calibration takes {FEWEST_BOXES} detections that are right or wrong, these scenes have fewer: give more"
        )
    calibration = replace(calibration, method=f"{calibration.method}, boxes of {found_by}")
    try:
        path = add_calibration(folder, calibration)
    except OSError as error:
        raise StorageError(f"cannot write the card of {folder}: {error.strerror}; give your own folder") from error
    return calibration, f"{told(calibration)}; written to {path}"


def told(calibration: Calibration) -> str:
    """What a calibration says, for people."""
    error = calibration.ece_after
    after = "unknown after it, of one scene" if error is None else f"{error:.3f} after it"
    scores = [(share, calibration.score_at(share)) for share in TOLD]
    reached = [f"{share:g} from {score:.3f} on" for share, score in scores if score is not None]
    return (
        f"calibration of {calibration.boxes} boxes in {len(calibration.scenes)} scenes: expected calibration error "
        f"{calibration.ece_before:.3f} before, {after}; scores reach a precision of "
        f"{', '.join(reached) or f'{calibration.precision[-1]:g} at most'}"
    )
