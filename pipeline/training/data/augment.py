"""Training tiles: any rotation, scale, flip, place and light, with ships copied onto other waters.

Everything is a function of a numpy Generator, so a step of training is the same however often it is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.errors import ConfigError
from pipeline.types import ByteArray, FloatArray

Pixels = NDArray[np.float32]
ALIASES_BELOW = 0.75
"""Scale below which plain bilinear sampling would skip pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How training tiles are drawn."""

    object_share: float = 0.65
    """Share of the tiles that are drawn around an object; the others lie anywhere."""
    false_alarm_share: float = 0.15
    """Share of the tiles that are drawn around a false alarm, of scenes where some were mined: by their scores."""
    scale_range: tuple[float, float] = (0.75, 1.4)
    """Magnification of a tile, drawn evenly in its logarithm."""
    quarter_turns: bool = False
    """Turn by multiples of 90 degrees only: a horizontal box says nothing of the outline of a turned object."""
    paste: float = 1.5
    """Mean number of objects copied into a tile from other scenes."""
    light: float = 1.0
    """Strength of the photometric jitter; 0 is none."""

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high < np.inf:
            raise ConfigError(f"scale_range runs from a number above 0 to one no less, not from {low:g} to {high:g}")
        for name in ("object_share", "false_alarm_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} lies in 0 to 1, not {getattr(self, name):g}")
        for name in ("paste", "light"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"{name} is a number of at least 0, not {getattr(self, name):g}")


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a tile lies in its scene: tile = turn · (scene - centre) + size / 2."""

    centre: FloatArray
    """(2,) scene pixels."""
    angle: float
    """Radians, clockwise on screen."""
    scale: float
    flip: bool
    """Mirror left-right before turning."""

    @property
    def matrix(self) -> FloatArray:
        """(2, 2) scene vectors → tile vectors."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return self.scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if self.flip else 1.0, 1.0])


def draw_pose(centre: FloatArray, config: AugmentConfig, random: Generator) -> Pose:
    """A pose around ``centre``: any rotation, scale from the configured range, mirrored half of the time."""
    low, high = np.log(config.scale_range)
    angle = random.uniform(-np.pi, np.pi)
    if config.quarter_turns:
        angle = np.pi / 2 * round(2 * angle / np.pi)
    return Pose(centre, angle, float(np.exp(random.uniform(low, high))), random.random() < 0.5)


def warp_pixels(pixels: ByteArray, pose: Pose, size: int) -> Pixels:
    """(size, size, C) float32 tile of ``pixels`` at ``pose``, bilinear, 0 outside the scene.

    What shrinks much is shrunk first, antialiased, as detection's own resampling does.
    """
    inverse = np.linalg.inv(pose.matrix)
    reach = np.abs(inverse).sum(1) * size / 2 + 2
    x, y = np.maximum(np.floor(pose.centre - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(pose.centre + reach), pixels.shape[1::-1]).astype(int)
    if x1 <= x or y1 <= y:
        return np.zeros((size, size, pixels.shape[2]), np.float32)
    part = torch.from_numpy(pixels[y:y1, x:x1]).permute(2, 0, 1)[None].float()
    if pose.scale < ALIASES_BELOW:
        sides = [max(1, round(side * pose.scale)) for side in part.shape[-2:]]
        part = functional.interpolate(part, sides, mode="bilinear", antialias=True)
    extent = np.array([x1 - x, y1 - y], np.float64)
    linear = inverse * size / extent[:, None]
    shift = 2 * (pose.centre - (x, y)) / extent - 1
    theta = torch.from_numpy(np.column_stack([linear, shift])).float()[None]
    grid = functional.affine_grid(theta, [1, part.shape[1], size, size], align_corners=False)
    return functional.grid_sample(part, grid, align_corners=False)[0].permute(1, 2, 0).numpy()


def warp_boxes(boxes: FloatArray, pose: Pose, size: int) -> FloatArray:
    """(N, 5) scene boxes → tile boxes."""
    out = boxes.copy()
    out[:, :2] = (boxes[:, :2] - pose.centre) @ pose.matrix.T + size / 2
    out[:, 2:4] *= pose.scale
    angle = (np.pi - boxes[:, 4] if pose.flip else boxes[:, 4]) + pose.angle
    out[:, 4] = (angle + np.pi / 2) % np.pi - np.pi / 2
    return out


def relight(tile: Pixels, strength: float, random: Generator) -> Pixels:
    """Gain, offset and gamma, common and per band, sometimes grey or swapped bands, noise. Black stays black.

    Of one band there is nothing to swap, and it is grey: what is drawn for that changes nothing.
    """
    if strength == 0:
        return tile
    nodata = (tile == 0).all(-1, keepdims=True)
    bands = tile.shape[-1]
    gain = np.exp(_common_and_own(0.2 * strength, 0.1 * strength, bands, random)).astype(np.float32)
    offset = _common_and_own(8 * strength, 5 * strength, bands, random).astype(np.float32)
    gamma = np.float32(np.exp(random.normal(0, 0.2 * strength)))
    lit = 255 * (np.clip(tile * gain + offset, 0, 255) / 255) ** gamma
    if random.random() < 0.15 * strength:
        lit = lit[..., random.permutation(bands)]
    if random.random() < 0.1 * strength:
        lit = np.repeat(lit.mean(-1, keepdims=True), bands, -1)
    lit = lit + random.standard_normal(lit.shape, np.float32) * np.float32(random.uniform(0, 3) * strength)
    return np.where(nodata, 0, np.clip(lit, 0, 255)).astype(np.float32)


def _common_and_own(common: float, own: float, bands: int, random: Generator) -> FloatArray:
    """(bands,) normal draws: one that all share, and one of each, of these standard deviations."""
    shared = random.normal(0, common)
    return np.asarray(shared + random.normal(0, own, bands), np.float64)
