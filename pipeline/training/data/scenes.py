"""Training scenes: pixels at the model's GSD with their annotations, stored once as npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.types import ByteArray


@dataclass(frozen=True, slots=True, eq=False)
class TrainingScene:
    """One scene as the network will see it."""

    name: str
    pixels: ByteArray
    """(H, W, 3) uint8, black where invalid."""
    truth: Annotations


def save_scene(path: Path, scene: TrainingScene) -> None:
    """Write one scene as compressed npz (arrays only; nothing is pickled)."""
    truth = scene.truth
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, pixels=scene.pixels, boxes=truth.boxes, class_ids=truth.class_ids, ignore=truth.ignore
    )  # fmt: skip


def load_scenes(folder: Path) -> list[TrainingScene]:
    """Every scene of ``folder``, by name. Raises ConfigError when there is none."""
    scenes = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            truth = Annotations(arrays["boxes"], arrays["class_ids"], arrays["ignore"])
            scenes.append(TrainingScene(path.stem, arrays["pixels"], truth))
    if not scenes:
        raise ConfigError(f"no prepared scenes (*.npz) in {folder}; make them with 'train_detector.py prepare'")
    return scenes
