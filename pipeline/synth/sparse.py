"""A known scene of which only some blocks were ever recorded: for load tests, where what counts is decoding and size.

Which blocks are there is a hash of their place, so a scene of any size can still be made window by window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.synth.known import KnownScene, Truth
from pipeline.synth.noise import uniform
from pipeline.types import BoolArray, IntArray, Window

BLOCK_PX = 512
"""Side of a block: the file's own, so that a missing block is missing from the file too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseScene:
    """``whole``, black where its blocks are missing; the objects whose centre is on a block that is there.

    Raises ConfigError for a share that is none.
    """

    whole: KnownScene
    seed: int
    stored_share: float
    """Share of the blocks that are there, on average."""

    def __post_init__(self) -> None:
        if not 0 < self.stored_share <= 1:
            raise ConfigError(
                f"the share of the blocks that are stored lies above 0 and up to 1, not {self.stored_share:g}"
            )

    @property
    def width(self) -> int:
        return self.whole.width

    @property
    def height(self) -> int:
        return self.whole.height

    @property
    def classes(self) -> tuple[str, ...]:
        return self.whole.classes

    def stored(self, row: IntArray, column: IntArray) -> BoolArray:
        """Whether blocks are there, counted from the top left."""
        return np.asarray(uniform(self.seed, row, column, 17) < self.stored_share)

    def render(self, window: Window) -> NDArray[Any]:
        """(H, W, 3) pixels; only blocks that are there are drawn."""
        rows = range(window.y // BLOCK_PX, -(-window.y1 // BLOCK_PX))
        columns = range(window.x // BLOCK_PX, -(-window.x1 // BLOCK_PX))
        there = self.stored(np.array(rows)[:, None], np.array(columns))
        pixels: NDArray[Any] | None = None
        for row, column in zip(*np.nonzero(there), strict=True):
            block = Window(x=columns[column] * BLOCK_PX, y=rows[row] * BLOCK_PX, width=BLOCK_PX, height=BLOCK_PX)
            part = block.intersect(window)
            assert part is not None, "every block of the range touches the window"
            drawn = self.whole.render(part)
            if pixels is None:
                pixels = np.zeros((window.height, window.width, drawn.shape[2]), drawn.dtype)
            pixels[part.y - window.y : part.y1 - window.y, part.x - window.x : part.x1 - window.x] = drawn
        if pixels is None:
            one = self.whole.render(Window(x=window.x, y=window.y, width=1, height=1))
            pixels = np.zeros((window.height, window.width, one.shape[2]), one.dtype)
        return pixels

    def objects_in(self, window: Window) -> Truth:
        """The objects whose centre lies in ``window``, on a block that is there."""
        truth = self.whole.objects_in(window)
        column, row = (np.floor(truth.boxes[:, axis] / BLOCK_PX).astype(np.int64) for axis in (0, 1))
        keep = self.stored(row, column)
        return Truth(truth.boxes[keep], truth.class_ids[keep])
