"""Procedural harbours as training scenes."""

from __future__ import annotations

import numpy as np

from pipeline.annotations.annotations import Annotations, annotations_on_lattice
from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.names import listed
from pipeline.pixels.resampling import resample
from pipeline.synth.harbour.harbour import Harbour
from pipeline.training.data.scenes import TrainingScene
from pipeline.types import Lattice, Window
from pipeline.types.cards import NEAR_INFRARED, RGB

CLASSES = ("ship",)
TRAINING_SEEDS = range(1_000_000)
"""Seeds of harbours that may be trained on; the demo and the tests use others."""


def prepare_harbour(
    seed: int, size_px: int, gsd_m: float, raster: RasterConfig, bands: tuple[str, ...] = RGB
) -> TrainingScene:
    """A procedural harbour of ``size_px`` pixels of 10 m, stretched and resampled like a scene from a file.

    Raises ConfigError for ``bands`` other than the colours or near infrared, and for a seed that is not for training.
    """
    if seed not in TRAINING_SEEDS:
        raise ConfigError(f"harbour seeds for training lie in 0 … {len(TRAINING_SEEDS) - 1}, got {seed}")
    if bands not in (RGB, (NEAR_INFRARED,)):
        raise ConfigError(f"harbours are made in {listed(RGB)} or in {NEAR_INFRARED}, not in {listed(bands)}")
    harbour = Harbour(seed=seed, width=size_px, height=size_px, near_infrared=bands != RGB)
    whole = Window(x=0, y=0, width=size_px, height=size_px)
    values = harbour.render(whole).astype(np.float32)
    percents = (raster.stretch_low_percent, raster.stretch_high_percent)
    low, high = np.percentile(values.reshape(-1, len(bands)), percents, axis=0)
    scale = gsd_m / harbour.gsd_m
    side = int(size_px / scale)
    lattice = Lattice(width=side, height=side, scale_x=scale, scale_y=scale, gsd_m=gsd_m)
    resampled, _ = resample(
        values, np.ones(values.shape[:2], np.bool_), whole, lattice.window, lattice, size_px, size_px
    )
    pixels = np.clip(255 * (resampled - low) / (high - low), 0, 255).round().astype(np.uint8)
    pixels[(pixels == 0).all(-1)] = 1  # all is valid: 0 would be a hole
    ships = harbour.ships()
    truth = Annotations(ships.boxes, ships.class_ids, np.zeros(len(ships.boxes), np.bool_))
    return TrainingScene(f"harbour_{seed:06d}", pixels, annotations_on_lattice(truth, lattice))
