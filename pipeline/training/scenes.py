"""Training scenes: pixels at the model's GSD with their annotations, stored once as npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.types import BoolArray, ByteArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """Oriented truth of one scene or chip."""

    boxes: FloatArray
    """(N, 5) canonical boxes, pixels."""
    class_ids: IntArray
    """(N,)."""
    ignore: BoolArray
    """(N,) True where a detection is neither right nor wrong."""

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: Any) -> Annotations:
        return Annotations(self.boxes[keep], self.class_ids[keep], self.ignore[keep])

    @classmethod
    def empty(cls) -> Annotations:
        return cls(np.zeros((0, 5)), np.zeros(0, np.int64), np.zeros(0, np.bool_))

    @classmethod
    def concat(cls, first: Annotations, second: Annotations) -> Annotations:
        return cls(
            np.concatenate([first.boxes, second.boxes]),
            np.concatenate([first.class_ids, second.class_ids]),
            np.concatenate([first.ignore, second.ignore]),
        )


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
