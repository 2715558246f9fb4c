"""Oriented boxes as a structure of arrays, and the frame they are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types.arrays import BoolArray, FloatArray, IntArray


class Frame(StrEnum):
    """The pixel grid that box coordinates refer to; see :mod:`pipeline.types`."""

    CHIP = "chip"
    LATTICE = "lattice"
    SCENE = "scene"


STAGES = ("global", "crop", "fused")
"""Who saw a detection: the global look, a crop of the second look, or both. ``Detections.stage`` indexes it."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N oriented boxes as a structure of arrays, all of one frame. Never mutated."""

    boxes: FloatArray
    """(N, 5) float64: cx, cy, w, h in pixels of ``frame``, angle_rad."""
    scores: FloatArray
    """(N,) float64 in [0, 1]."""
    class_ids: IntArray
    """(N,) int64, indices into the model card's classes."""
    frame: Frame
    edge: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(N,) True where the box lies within 2 px of an inner chip edge: it may be cut."""
    tile_index: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) ``Tile.index`` of the look that found it; -1 when unknown."""
    stage: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) index into STAGES."""
    n_merged: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) how many looks this box stands for, itself included."""
    entropy: FloatArray = field(default_factory=lambda: np.zeros(0))
    """(N,) normalised attention entropy of the window that found it; NaN without the second look."""

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 5):
            raise ValueError(f"boxes must be (N, 5), got {self.boxes.shape}")
        fills: dict[str, Any] = {
            "edge": (np.bool_, False),
            "tile_index": (np.int64, -1),
            "stage": (np.int64, 0),
            "n_merged": (np.int64, 1),
            "entropy": (np.float64, np.nan),
        }
        for name, (dtype, value) in fills.items():
            if n and not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(n, value, dtype))
        for name in ("scores", "class_ids", *fills):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} must be ({n},) like boxes, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> Detections:
        """The rows chosen by a boolean mask, an index array or a slice."""
        return Detections(self.boxes[keep], self.scores[keep], self.class_ids[keep], self.frame, self.edge[keep],
                          self.tile_index[keep], self.stage[keep], self.n_merged[keep], self.entropy[keep])  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        """Nothing travels as a word: on most tiles of a large scene nothing is found."""
        if not len(self):
            return _none_in, (self.frame,)
        return Detections, (self.boxes, self.scores, self.class_ids, self.frame, self.edge, self.tile_index,
                            self.stage, self.n_merged, self.entropy)  # fmt: skip

    @classmethod
    def empty(cls, frame: Frame) -> Detections:
        return _none_in(frame)

    @classmethod
    def concat(cls, parts: Sequence[Detections], frame: Frame) -> Detections:
        """All rows of ``parts`` in order. Raises ValueError when a part is in another frame."""
        for part in parts:
            if part.frame != frame:
                raise ValueError(f"cannot put detections of frame {part.frame} among those of frame {frame}")
        if not parts:
            return cls.empty(frame)
        columns = ("boxes", "scores", "class_ids", "edge", "tile_index", "stage", "n_merged", "entropy")
        merged = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
        return cls(frame=frame, **merged)


@cache
def _none_in(frame: Frame) -> Detections:
    """No detections; made once, because most tiles of a large scene have none."""
    return Detections(np.zeros((0, 5)), np.zeros(0), np.zeros(0, np.int64), frame)
