"""Procedural harbours: 16-bit true-colour scenes that look like Sentinel-2 at 10 m, with every ship known.

Seeds below 1,000,000 are for training; :data:`DEMO_SEED` and tests use seeds from 20,000,000 on, so the embedded
scene is one that no training run has seen.

A scene is rendered in cells of :data:`CELL_PX` aligned to absolute pixels, and every cell is a pure function of the
seed, so any window gives the same pixels and a scene of any size streams. numpy and scipy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.synth.harbour.layout import Place, place_of
from pipeline.synth.harbour.paint import paint
from pipeline.synth.harbour.ports import ships_near
from pipeline.synth.known import Truth
from pipeline.types import Window

CELL_PX = 512
DEMO_SEED = 20_260_007
DEMO_SCENE = ("--kind", "harbour", "--seed", str(DEMO_SEED), "--width", "2048", "--height", "1536", "--gsd", "10",
              "--crs", "EPSG:32632")  # fmt: skip
"""The arguments with which ``jobs/make_scene.py`` writes the scene of :func:`demo_harbour`."""
MARGIN_M = 16.0
"""Truth boxes are this much larger than the hull on every side: the ring of mixed pixels that annotators include."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harbour:
    """One procedural scene of ``width`` x ``height`` pixels of ``gsd_m`` metres."""

    seed: int
    width: int
    """Scene pixels."""
    height: int
    """Scene pixels."""
    gsd_m: float = 10.0
    near_infrared: bool = False
    """One band in place of red, green and blue."""

    @property
    def classes(self) -> tuple[str, ...]:
        return ("ship",)

    @property
    def place(self) -> Place:
        return place_of(self.seed, self.width * self.gsd_m, self.height * self.gsd_m)

    def objects_in(self, window: Window) -> Truth:
        """The ships whose centre lies in ``window``, frame SCENE."""
        metres = [edge * self.gsd_m for edge in (window.x, window.y, window.x1, window.y1)]
        boxes = ships_near(self.place, *metres).boxes
        x, y = boxes[:, 0], boxes[:, 1]
        boxes = boxes[(x >= metres[0]) & (x < metres[2]) & (y >= metres[1]) & (y < metres[3])].copy()
        boxes[:, 2:4] += 2 * MARGIN_M
        boxes[:, :4] /= self.gsd_m
        boxes[:, 4] = (boxes[:, 4] + np.pi / 2) % np.pi - np.pi / 2
        return Truth(boxes, np.zeros(len(boxes), np.int64))

    def ships(self) -> Truth:
        """Every ship of the scene."""
        return self.objects_in(Window(x=0, y=0, width=self.width, height=self.height))

    def render(self, window: Window) -> NDArray[np.uint16]:
        """(H, W, 3) uint16, red, green, blue, or (H, W, 1). The window may reach over the scene's edges."""
        out = np.empty((window.height, window.width, 1 if self.near_infrared else 3), np.uint16)
        for row in range(window.y // CELL_PX, (window.y1 - 1) // CELL_PX + 1):
            for column in range(window.x // CELL_PX, (window.x1 - 1) // CELL_PX + 1):
                cell = Window(x=column * CELL_PX, y=row * CELL_PX, width=CELL_PX, height=CELL_PX)
                part = cell.intersect(window)
                assert part is not None
                pixels = _cell_pixels(self, column, row)
                out[part.y - window.y : part.y1 - window.y, part.x - window.x : part.x1 - window.x] = pixels[
                    part.y - cell.y : part.y1 - cell.y, part.x - cell.x : part.x1 - cell.x
                ]
        return out


@lru_cache(maxsize=32)
def _cell_pixels(harbour: Harbour, column: int, row: int) -> NDArray[np.uint16]:
    return paint(harbour.place, column * CELL_PX, row * CELL_PX, CELL_PX, harbour.gsd_m, harbour.near_infrared)


def demo_harbour() -> Harbour:
    """The scene of ``make demo``: 2048 x 1536 pixels of 10 m."""
    return Harbour(seed=DEMO_SEED, width=2048, height=1536)
