"""Training scenes: pixels at the model's GSD with their annotations, stored once as npz."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.types import ByteArray

COMPRESSION = 1
"""Level of zlib. Preparing small images is mostly that."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingScene:
    """One scene as the network will see it."""

    name: str
    pixels: ByteArray
    """(H, W, C) uint8, 0 in every band where invalid, and only there."""
    truth: Annotations


def save_scene(path: Path, scene: TrainingScene) -> None:
    """Write one scene as compressed npz (arrays only; nothing is pickled), by rename.

    The same scene is the same bytes: a run's hashes of its data say whether they changed.
    """
    truth = scene.truth
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"pixels": scene.pixels, "boxes": truth.boxes, "class_ids": truth.class_ids, "ignore": truth.ignore}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    # By hand, as numpy knows one level of compression only: 6, which takes three times as long for 2 % less.
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    partial.replace(path)


def load_scenes(folder: Path) -> list[TrainingScene]:
    """Every scene of ``folder``, by name. Raises ConfigError when there is none."""
    scenes = [load_scene(folder, path.stem) for path in sorted(folder.glob("*.npz"))]
    if not scenes:
        raise ConfigError(f"no prepared scenes (*.npz) in {folder}; make them with 'train_detector.py prepare'")
    return scenes


def load_scene(folder: Path, name: str) -> TrainingScene:
    """The scene of that name."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        truth = Annotations(arrays["boxes"], arrays["class_ids"], arrays["ignore"])
        return TrainingScene(name, arrays["pixels"], truth)
