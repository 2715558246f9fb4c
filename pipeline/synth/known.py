"""Scenes of any size whose objects are known: oriented rectangles on textured ground, for tests and benchmarks.

Objects are derived cell by cell from hashed seeds and rendered analytically, so 100 gigapixels need no memory, and
any window gives the same pixels and the same objects. (Scenes that look real are in :mod:`pipeline.synth.harbour`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.synth.canvas import Canvas
from pipeline.synth.noise import FloatImage, fractal_grid, uniform
from pipeline.types import FloatArray, IntArray, Window

PRESENCE = 0.75
"""Share of the cells that hold an object."""
ASPECT = (1.8, 4.0)
"""Least and greatest ratio of length to width."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """N known objects of one scene."""

    boxes: FloatArray
    """(N, 5) canonical oriented boxes, frame SCENE."""
    class_ids: IntArray
    """(N,) indices into the scene's classes."""

    def __len__(self) -> int:
        return len(self.boxes)


class KnownScene(Protocol):
    """A scene that can be made window by window, and says where its objects are."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def render(self, window: Window) -> NDArray[Any]:
        """(H, W, 3) pixels of a scene window."""
        ...

    def objects_in(self, window: Window) -> Truth:
        """The objects whose centre lies in ``window``; over windows that partition the scene, each exactly once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectField:
    """Oriented rectangles that never touch, at most one in each square cell of a hashed grid.

    Raises ConfigError when objects of ``longest_px`` do not fit at that density.
    """

    seed: int
    width: int
    """Scene pixels."""
    height: int
    """Scene pixels."""
    shortest_px: float = 12.0
    """Length of the shortest object."""
    longest_px: float = 40.0
    """Length of the longest object."""
    density: float = 60.0
    """Objects per million pixels, on average."""
    classes: tuple[str, ...] = ("object",)
    dtype: str = "uint8"
    """uint8 or uint16."""

    def __post_init__(self) -> None:
        if not 2 <= self.shortest_px <= self.longest_px:
            raise ConfigError(f"object lengths {self.shortest_px:g} to {self.longest_px:g} px: give 2 <= least <= most")
        if self.density <= 0 or self.cell_px < self._diagonal_px + 2:
            most = 1e6 * PRESENCE / (self._diagonal_px + 2) ** 2
            raise ConfigError(
                f"objects of {self.longest_px:g} px fit at most {most:.0f} times into a megapixel without touching; "
                f"a density of {self.density:g} does not work"
            )
        if self.dtype not in ("uint8", "uint16"):
            raise ConfigError(f"pixels can be uint8 or uint16, not {self.dtype}")

    @property
    def cell_px(self) -> float:
        """Side of the cells, each of which holds at most one object."""
        return float(np.sqrt(1e6 * PRESENCE / self.density))

    @property
    def _diagonal_px(self) -> float:
        return self.longest_px * float(np.hypot(1, 1 / ASPECT[0]))

    def objects_in(self, window: Window) -> Truth:
        """The objects whose centre lies in ``window``, row by row of cells."""
        found = self._near(window, 0.0)
        x, y = found.boxes[:, 0], found.boxes[:, 1]
        keep = (x >= window.x) & (x < window.x1) & (y >= window.y) & (y < window.y1)
        keep &= (x < self.width) & (y < self.height) & (x >= 0) & (y >= 0)
        return Truth(found.boxes[keep], found.class_ids[keep])

    def _near(self, window: Window, margin_px: float) -> Truth:
        """The objects of every cell within ``margin_px`` of ``window``."""
        low = np.floor((np.array([window.x, window.y]) - margin_px) / self.cell_px).astype(np.int64)
        high = np.floor((np.array([window.x1, window.y1]) + margin_px) / self.cell_px).astype(np.int64)
        rows, columns = np.arange(low[1], high[1] + 1), np.arange(low[0], high[0] + 1)
        row, column = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
        present = uniform(self.seed, row, column, 0) < PRESENCE
        row, column = row[present], column[present]
        draw = [uniform(self.seed, row, column, k) for k in range(1, 7)]
        length = self.shortest_px + (self.longest_px - self.shortest_px) * draw[0]
        width = length / (ASPECT[0] + (ASPECT[1] - ASPECT[0]) * draw[1])
        room = (self.cell_px - np.hypot(length, width) - 2) / self.cell_px
        x = (column + 0.5 + room * (draw[2] - 0.5)) * self.cell_px
        y = (row + 0.5 + room * (draw[3] - 0.5)) * self.cell_px
        boxes = np.column_stack([x, y, length, width, np.pi * (draw[4] - 0.5)])
        return Truth(boxes, np.floor(draw[5] * len(self.classes)).astype(np.int64))

    def render(self, window: Window) -> NDArray[Any]:
        """(H, W, 3) of ``dtype``: patchy ground, objects in a colour of their class, brighter than what is around."""
        xs = np.arange(window.x, window.x1, dtype=np.float64) + 0.5
        ys = np.arange(window.y, window.y1, dtype=np.float64) + 0.5
        ground = fractal_grid(self.seed, xs, ys, ((900.0, 0.06), (130.0, 0.05), (23.0, 0.04), (3.0, 0.03)))
        tint = np.array([0.30, 0.33, 0.27], np.float32)
        canvas = Canvas(xs, ys, 1.0, (ground[..., None] + tint).astype(np.float32))
        near = self._near(window, self._diagonal_px)
        for box, class_id in zip(near.boxes, near.class_ids, strict=True):
            hit = canvas.rectangle(box)
            if hit is not None:
                canvas.lay(hit[0], hit[1], self._colour(int(class_id)), hit[2])
        return self._as_numbers(canvas.colour)

    def _colour(self, class_id: int) -> FloatArray:
        shade = (class_id + 1) / (len(self.classes) + 1)
        return np.array([0.95 - 0.35 * shade, 0.75 + 0.2 * shade, 0.6 + 0.3 * shade])

    def _as_numbers(self, colour: FloatImage) -> NDArray[Any]:
        scale = 255.0 if self.dtype == "uint8" else 10000.0
        numbers: NDArray[Any] = np.clip(np.rint(colour * np.float32(scale)), 1, scale).astype(self.dtype)
        return numbers
