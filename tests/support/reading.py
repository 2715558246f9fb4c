"""How tests read scenes: on which lattice, through our reader, and by rasterio alone as the reference."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from pipeline.config import RasterConfig
from pipeline.raster.overview import measure_stretch
from pipeline.raster.reader import STRIP_PX, SceneReader
from pipeline.types import Lattice, Scene, Window

CONFIG = RasterConfig()


def native(scene: Scene) -> Lattice:
    """The scene's own pixels."""
    return Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=None)


def resampled(scene: Scene, scale_x: float, scale_y: float) -> Lattice:
    """Lattice pixels of so many scene pixels each."""
    width, height = int(np.ceil(scene.width / scale_x)), int(np.ceil(scene.height / scale_y))
    return Lattice(width=width, height=height, scale_x=scale_x, scale_y=scale_y, gsd_m=None)


def read(
    scene: Scene, lattice: Lattice, *windows: Window, config: RasterConfig = CONFIG, strip_px: int = STRIP_PX
) -> list[tuple[Any, Any]]:
    """Pixels and validity of every window, through our reader."""
    with SceneReader(scene, lattice, measure_stretch(scene, config), config, strip_px=strip_px) as reader:
        return [reader.read(window) for window in windows]


def reference(path: Path, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The whole scene by rasterio alone, stretched in float64 by the formula of ``Stretch``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            values = file.read(list(scene.bands)).transpose(1, 2, 0).astype(np.float64)
            valid = (file.dataset_mask() > 0) & np.isfinite(values).all(axis=-1)
            if file.colorinterp[0].name == "palette":
                table = file.colormap(1)
                values = np.array([table[k][:3] for k in range(4)], np.float64)[values[..., 0].astype(int)]
    stretch = measure_stretch(scene, CONFIG)
    low, high = np.array(stretch.low), np.array(stretch.high)
    values = np.where(valid[..., None], values, low)
    return np.clip(np.floor(255 * (values - low) / (high - low) + 0.5), 0, 255) * valid[..., None], valid
