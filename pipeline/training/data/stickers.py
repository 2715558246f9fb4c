"""Objects copied from one place to another: what they are, and how they are pasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pipeline.annotations.annotations import Annotations
from pipeline.training.data.augment import AugmentConfig, Pixels, Pose, draw_pose, warp_boxes, warp_pixels
from pipeline.training.data.scenes import TrainingScene
from pipeline.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Sticker:
    """An object that lies alone on a smooth ground and can be copied."""

    scene: TrainingScene
    index: int
    ground: Pixels
    """(C,) median colour around it."""


def find_stickers(scenes: Sequence[TrainingScene], roughest: float = 14.0, ring_px: int = 5) -> list[Sticker]:
    """Objects whose surroundings vary by less than ``roughest`` grey values (standard deviation)."""
    stickers = []
    for scene in scenes:
        for index in np.flatnonzero(~scene.truth.ignore):
            ring = _ring(scene, int(index), ring_px)
            if len(ring) > 30 and float(ring.std(0).max()) < roughest:
                stickers.append(Sticker(scene, int(index), np.median(ring, 0).astype(np.float32)))
    return stickers


def _ring(scene: TrainingScene, index: int, ring_px: int) -> Pixels:
    """(M, C) pixels around a box and outside every box."""
    box = scene.truth.boxes[index]
    size = int(box[2] + 2 * ring_px + 2)
    pose = Pose(box[:2], -float(box[4]), 1.0, False)
    pixels = warp_pixels(scene.pixels, pose, size)
    inside = sum(
        (box_mask(b, size, 1.0) > 0 for b in warp_boxes(scene.truth.boxes, pose, size)), np.zeros((size, size))
    )
    near = np.zeros((size, size), bool)
    half = int(box[3] / 2 + ring_px)
    near[max(0, size // 2 - half) : size // 2 + half] = True
    ring: Pixels = pixels[near & (inside == 0)]
    return ring


def box_mask(box: FloatArray, size: int, soft_px: float) -> Pixels:
    """(size, size) float32: 1 inside the box, falling to 0 over ``soft_px`` outside its sides."""
    y, x = np.mgrid[:size, :size] + 0.5
    cos, sin = np.cos(box[4]), np.sin(box[4])
    along, across = (x - box[0]) * cos + (y - box[1]) * sin, (y - box[1]) * cos - (x - box[0]) * sin
    outside = np.maximum(np.abs(along) - box[2] / 2, np.abs(across) - box[3] / 2)
    mask: Pixels = np.clip(1 - outside / soft_px, 0, 1).astype(np.float32)
    return mask


def paste(tile: Pixels, truth: Annotations, sticker: Sticker, config: AugmentConfig, random: Generator) -> Annotations:
    """Add a sticker's contrast to a smooth free place of ``tile`` (changed in place), when one is found."""
    size = len(tile)
    box = sticker.scene.truth.boxes[sticker.index]
    pose = draw_pose(box[:2], config, random)
    reach = int(box[2] * pose.scale / 2 + 4)
    if 2 * reach + 2 >= size:
        return truth
    for _ in range(8):
        cx, cy = random.integers(reach, size - reach, 2)
        place = tile[cy - reach : cy + reach, cx - reach : cx + reach]
        free = np.all(np.hypot(*(truth.boxes[:, :2] - (cx, cy)).T) > reach + truth.boxes[:, 2] / 2)
        if free and place.std((0, 1)).max() < 10 and place.max() > 0:
            patch = warp_pixels(sticker.scene.pixels, pose, 2 * reach)
            local = warp_boxes(box[None], pose, 2 * reach)
            mask = box_mask(local[0], 2 * reach, 2.0)[..., None]
            place += mask * (patch - sticker.ground) * random.uniform(0.6, 1.2)
            label = sticker.scene.truth.class_ids[sticker.index : sticker.index + 1]
            there = local + np.array([cx - reach, cy - reach, 0, 0, 0])
            return Annotations.concat(truth, Annotations(there, label, np.zeros(1, np.bool_)))
    return truth
