"""From scenes to batches. Batch ``step`` of a run is a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from pipeline.annotations.annotations import Annotations
from pipeline.training.data.augment import AugmentConfig, draw_pose, relight, warp_boxes, warp_pixels
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.data.stickers import find_stickers, paste
from pipeline.types import BoolArray, ByteArray, FloatArray

SMALLEST_KEPT_PX = 2.0
"""Boxes with a shorter side after scaling are dropped."""
MOST_OVERHANG = 0.35
"""Centres of tiles keep at least this share of a tile's side from the scene's edges: black teaches nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Truth of one tile, as tensors."""

    boxes: Tensor
    """(N, 5) float32 canonical boxes, pixels."""
    class_ids: Tensor
    """(N,) int64."""
    ignored: Tensor
    """(M, 5) float32 regions that are neither right nor wrong."""

    def to(self, device: torch.device) -> Target:
        """The same on another device."""
        return Target(self.boxes.to(device), self.class_ids.to(device), self.ignored.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B tiles and their truth."""

    pixels: Tensor
    """(B, H, W, C) uint8."""
    targets: tuple[Target, ...]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(self.pixels.to(device), tuple(target.to(device) for target in self.targets))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a file holds of it: ``pixels`` (B, H, W, 3); ``boxes``, ``class_ids`` and ``ignored`` of all tiles one
        after another, and how many of each a tile has in ``counts`` (B, 2: boxes, ignored)."""
        targets = self.targets
        return {
            "pixels": self.pixels.cpu().numpy(),
            "boxes": torch.cat([one.boxes for one in targets]).cpu().numpy(),
            "class_ids": torch.cat([one.class_ids for one in targets]).cpu().numpy(),
            "ignored": torch.cat([one.ignored for one in targets]).cpu().numpy(),
            "counts": np.array([[len(one.boxes), len(one.ignored)] for one in targets]),
        }


class TileSampler:
    """Draws training tiles: scenes by the square root of what they hold, groups of scenes by their share."""

    def __init__(
        self,
        groups: Sequence[tuple[Sequence[TrainingScene], float]],
        config: AugmentConfig,
        false_alarms: Mapping[str, FloatArray] | None = None,
    ) -> None:
        """``groups``: (scenes, share of the tiles) pairs, real ones first: objects are copied from the first only.

        ``false_alarms``: scene → (N, 3) x, y, score of what a detector took for objects, scene pixels.
        """
        total = sum(share for _, share in groups)
        self._scenes = [scene for scenes, _ in groups for scene in scenes]
        weights = [self._weights(scenes) * share / total for scenes, share in groups]
        self._weights_all = np.concatenate(weights)
        self._config = config
        self._false_alarms = {name: places for name, places in (false_alarms or {}).items() if len(places)}
        self._stickers = find_stickers(groups[0][0]) if config.paste > 0 else []

    def milder(self) -> TileSampler:
        """The same, but for tiles that keep the scale and the light of their scenes: what detection will see."""
        same = copy(self)
        same._config = replace(self._config, scale_range=(1.0, 1.0), light=0.0)
        return same

    @staticmethod
    def _weights(scenes: Sequence[TrainingScene]) -> FloatArray:
        weights = np.array([np.sqrt(1 + np.count_nonzero(~scene.truth.ignore)) for scene in scenes])
        return np.asarray(weights / weights.sum())

    def tile(self, size: int, random: Generator) -> tuple[ByteArray, Annotations]:
        """One (size, size, C) uint8 tile and its truth."""
        scene = self._scenes[random.choice(len(self._scenes), p=self._weights_all)]
        pose = draw_pose(self._centre(scene, size, random), self._config, random)
        pose = replace(pose, centre=pull_in(pose.centre, scene.pixels.shape, MOST_OVERHANG * size / pose.scale))
        pixels = warp_pixels(scene.pixels, pose, size)
        truth = Annotations(warp_boxes(scene.truth.boxes, pose, size), scene.truth.class_ids, scene.truth.ignore)
        truth = truth[near_tile(truth.boxes, size)]
        if self._stickers:
            for _ in range(random.poisson(self._config.paste)):
                sticker = self._stickers[random.integers(len(self._stickers))]
                truth = paste(pixels, truth, sticker, self._config, random)
        pixels = relight(np.clip(pixels, 0, 255), self._config.light, random)
        return pixels.round().astype(np.uint8), truth

    def _centre(self, scene: TrainingScene, size: int, random: Generator) -> FloatArray:
        height, width = scene.pixels.shape[:2]
        places = self._false_alarms.get(scene.name)
        if places is not None and random.random() < self._config.false_alarm_share:
            chosen = random.choice(len(places), p=places[:, 2] / places[:, 2].sum())
            return np.asarray(places[chosen, :2] + random.uniform(-0.4, 0.4, 2) * size)
        objects = np.flatnonzero(~scene.truth.ignore)
        if len(objects) and random.random() < self._config.object_share:
            around = scene.truth.boxes[objects[random.integers(len(objects))], :2]
            return np.asarray(around + random.uniform(-0.4, 0.4, 2) * size)
        return random.uniform(0, 1, 2) * (width, height)

    def batch(self, tiles: int, size: int, random: Generator, rows: slice = slice(None)) -> Batch:
        """Those of ``tiles`` tiles of ``size`` pixels that ``rows`` says. Each has chance of its own: which others are
        drawn here does not change it."""
        drawn = [self.tile(size, chance) for chance in random.spawn(tiles)[rows]]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in drawn]))
        return Batch(pixels, tuple(to_target(truth, size) for _, truth in drawn))


def pull_in(centre: FloatArray, shape: tuple[int, ...], margin: float) -> FloatArray:
    """``centre`` (x, y) at least ``margin`` pixels from the edges of a scene of ``shape``, else in its middle."""
    size = np.array([shape[1], shape[0]], np.float64)
    margins = np.minimum(margin, size / 2)
    return np.clip(centre, margins, size - margins)


def near_tile(boxes: FloatArray, size: int) -> BoolArray:
    """(N,) True for boxes that can reach into the tile."""
    reach = np.hypot(boxes[:, 2], boxes[:, 3])[:, None] / 2
    return np.asarray(np.all((boxes[:, :2] > -reach) & (boxes[:, :2] < size + reach), axis=1))


def to_target(truth: Annotations, size: int) -> Target:
    """Boxes with their centre inside are objects; those that only reach in, and ignore regions, count nowhere."""
    boxes = truth.boxes
    inside = np.all((boxes[:, :2] >= 0) & (boxes[:, :2] < size), axis=1)
    wanted = inside & ~truth.ignore & (boxes[:, 3] >= SMALLEST_KEPT_PX)
    return Target(
        torch.from_numpy(boxes[wanted]).float(),
        torch.from_numpy(truth.class_ids[wanted]),
        torch.from_numpy(boxes[~wanted]).float(),
    )
