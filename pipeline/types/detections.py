"""Oriented boxes as a structure of arrays, and the frame they are in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
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
    """N oriented boxes as a structure of arrays, all of one frame. Never mutated: ``dataclasses.replace`` changes rows.

    The fields are the one list of the columns: whatever goes through all of them asks :data:`COLUMNS`.
    """

    boxes: FloatArray
    """(N, 5) float64: cx, cy, w, h in pixels of ``frame``, angle_rad."""
    scores: FloatArray
    """(N,) float64 in [0, 1]."""
    class_ids: IntArray
    """(N,) int64, indices into the model card's classes."""
    frame: Frame
    edge: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_), metadata={"fill": False})
    """(N,) True where the box lies within 2 px of an inner chip edge: it may be cut."""
    tile_index: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), metadata={"fill": -1})
    """(N,) ``Tile.index`` of the look that found it; -1 when unknown."""
    stage: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), metadata={"fill": 0})
    """(N,) index into STAGES."""
    n_merged: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), metadata={"fill": 1})
    """(N,) how many looks this box stands for, itself included."""
    entropy: FloatArray = field(default_factory=lambda: np.zeros(0, np.float64), metadata={"fill": math.nan})
    """(N,) normalised attention entropy of the window that found it; NaN without the second look."""

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 5):
            raise ValueError(f"boxes must be (N, 5), got {self.boxes.shape}")
        if n:
            for name, fill in FILLS.items():
                if not len(getattr(self, name)):
                    object.__setattr__(self, name, np.full(n, fill))
        for name in COLUMNS[1:]:
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} must be ({n},) like boxes, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> Detections:
        """The rows chosen by a boolean mask, an index array or a slice."""
        return Detections(frame=self.frame, **{name: getattr(self, name)[keep] for name in COLUMNS})

    def __reduce__(self) -> tuple[Any, ...]:
        """Nothing travels as a word: on most tiles of a large scene nothing is found."""
        if not len(self):
            return _none_in, (self.frame,)
        return Detections, tuple(getattr(self, name) for name in _FIELDS)

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
        merged = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
        return cls(frame=frame, **merged)


_FIELDS = tuple(one.name for one in fields(Detections))
COLUMNS = tuple(name for name in _FIELDS if name != "frame")
"""Names of the arrays of Detections, a row per box each, in the order of the fields: boxes (N, 5), and then (N,)."""
FILLS: Mapping[str, bool | int | float] = {
    one.name: one.metadata["fill"] for one in fields(Detections) if "fill" in one.metadata
}
"""Column that may be left out → what its rows hold then. The type of the value is that of the column."""


@cache
def _none_in(frame: Frame) -> Detections:
    """No detections; made once, because most tiles of a large scene have none."""
    return Detections(np.zeros((0, 5)), np.zeros(0), np.zeros(0, np.int64), frame)
