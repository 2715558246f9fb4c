"""Whether an alpha band looks like one."""

from __future__ import annotations

import contextlib
from itertools import product

import numpy as np
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.pixels.doubts import alpha_doubt
from pipeline.raster.admission import GDAL_ERRORS
from pipeline.raster.masks import alpha_band
from pipeline.raster.source import Pixels
from pipeline.retrying import PATIENCE, Patience
from pipeline.types import Scene

PLACES, SIDE_PX = 4, 256
"""Windows along each side that are looked at, and their side in scene pixels."""


def examined_alpha(scene: Scene, config: RasterConfig, patience: Patience = PATIENCE) -> tuple[str, ...]:
    """A sentence for every alpha band of the scene that looks like an image, with the remedy; few windows are read."""
    doubts = []
    if not scene.has_mask:
        return ()
    with contextlib.closing(Pixels(scene, config, None, patience)) as source, source.environment():
        for file in source.files:
            band = alpha_band(file)
            if band is None:
                continue
            width, height = min(SIDE_PX, scene.width), min(SIDE_PX, scene.height)
            seen = []
            for row, column in product(range(PLACES), repeat=2):
                x = (scene.width - width) * column // (PLACES - 1)
                y = (scene.height - height) * row // (PLACES - 1)
                with contextlib.suppress(*GDAL_ERRORS):  # its tiles are told of as failures
                    seen.append(file.read(band, window=RasterioWindow(x, y, width, height)).reshape(-1))
            doubt = alpha_doubt(np.concatenate(seen), band) if seen else None
            doubts += [] if doubt is None else [doubt]
    return tuple(doubts)
