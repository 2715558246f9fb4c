"""The second look as a worker takes it: what to ask of the first look, which crops to cut, what becomes of a tile.

Between the pure choice and fusion of this folder and :mod:`pipeline.engine.worker` (pixels and the detector).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.config import RefineConfig
from pipeline.geometry.frames import chip_to_lattice
from pipeline.geometry.obb import scaled
from pipeline.second_look.choice import choose_crops
from pipeline.second_look.fusion import crop_boxes, fuse
from pipeline.second_look.selectors import BLIND, NEEDS_ATTENTION, NEEDS_DIFFERENCE, gain_of
from pipeline.second_look.windows import Gain, Glance, Visible
from pipeline.types import BoolArray, Chip, Crop, Detections, FloatArray, Frame, Lattice, Look, Tile

NO_ATTENTION = "this detector gives no attention map: the crops of the second look went by the density of detections"
NO_DIFFERENCE = "this detector gives no difference map: the crops of the second look went by the density of detections"

Valid = Callable[[FloatArray, FloatArray], BoolArray]
"""Lattice points x (N,), y (N,) → (N,) whether they lie on valid pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileView:
    """One tile after the global look."""

    tile: Tile
    picture: Chip
    """What the look was at."""
    look: Look
    seen: Detections
    """Its detections in frame LATTICE, from the lowest score that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SecondLook:
    """The second look at one block; there is none with the selector ``none``, a budget of 0, or tiles seen unshrunk."""

    config: RefineConfig
    gain: Gain | None
    """In place of the configured selector; only the evaluation has such."""
    lattice: Lattice
    factor: float
    """Tiles are shrunk by it for the global look."""
    score_threshold: float

    @property
    def wanted(self) -> bool:
        return self.config.applies(self.factor)

    @property
    def crop_factor(self) -> float:
        """Crops are shrunk by it."""
        return self.config.crop_factor(self.factor)

    @property
    def lowest_score(self) -> float:
        """From which score on both looks should answer."""
        return min(self.config.candidate_score, self.score_threshold) if self.wanted else self.score_threshold

    @property
    def attention(self) -> bool:
        """Whether the global look should answer with an attention map."""
        return self.wanted and self.gain is None and self.config.selector not in BLIND

    def lacks(self, views: Sequence[TileView]) -> str | None:
        """What is to be said when the selector needs maps that the detector cannot give, so that density stands in."""
        if not self.wanted or self.gain is not None:
            return None
        if self.config.selector in NEEDS_ATTENTION and any(view.look.attention is None for view in views):
            return NO_ATTENTION
        if self.config.selector in NEEDS_DIFFERENCE and any(view.look.difference is None for view in views):
            return NO_DIFFERENCE
        return None

    def crops(self, views: Sequence[TileView], visible: Visible) -> list[Crop]:
        """Where to look again; rows refer to ``views``."""
        if not self.wanted or not views:
            return []
        glances = [
            Glance(
                tile=view.tile.window, factor=self.factor, attention=view.look.attention,
                difference=view.look.difference, detections=view.seen[view.seen.scores >= self.config.candidate_score],
            )
            for view in views
        ]  # fmt: skip
        config = replace(self.config, selector="density") if self.lacks(views) else self.config
        return choose_crops(glances, self.gain or gain_of(config), config, visible)

    def fused(self, view: TileView, crops: Sequence[tuple[Crop, Look]], valid: Valid) -> Detections:
        """A tile's detections from its global look and its crops (frame LATTICE), from the score threshold on."""
        parts = [self._of_crop(view.tile, crop, look, valid) for crop, look in crops]
        both = fuse(view.seen, parts, self.config)
        return both[both.scores >= self.score_threshold]

    def _of_crop(self, tile: Tile, crop: Crop, look: Look, valid: Valid) -> Detections:
        found = look.detections
        boxes = chip_to_lattice(scaled(found.boxes, self.crop_factor), crop.window)
        edge, index = np.zeros(len(boxes), np.bool_), np.full(len(boxes), tile.index, np.int64)
        moved = replace(found, boxes=boxes, frame=Frame.LATTICE, edge=edge, tile_index=index)
        moved = moved[valid(boxes[:, 0], boxes[:, 1])]
        return crop_boxes(moved, crop, self.lattice.window, self.crop_factor)
