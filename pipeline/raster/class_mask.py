"""A raster of classes beside a scene, such as the scene classification of Sentinel-2: which classes are holes.

It covers what the scene covers, at any resolution: each pixel of the scene has the class that lies under its centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable
from pipeline.georeference.crs import same_crs
from pipeline.names import shown
from pipeline.types import BoolArray, FloatArray, Window


def beside(config: RasterConfig) -> tuple[str, ...]:
    """The file of classes, where there is one."""
    return () if config.mask_file is None else (config.mask_file,)


def classes_config(config: RasterConfig) -> RasterConfig:
    """How the file of classes is opened: the page is the scene's."""
    return replace(config, page=None)


def class_mask(
    classes: Any, config: RasterConfig, window: Window, shape: Sequence[int], size: tuple[int, int]
) -> BoolArray:  # fmt: skip
    """(H, W) of ``shape``: False where the open raster ``classes`` holds one of ``raster.mask_values`` under the
    pixel's centre.

    ``window`` counts pixels of a picture of ``size`` (width, height): the scene, or an overview of it.
    """
    across, down = classes.width / size[0], classes.height / size[1]
    columns = _centres(window.x, window.width, shape[1], across, classes.width)
    rows = _centres(window.y, window.height, shape[0], down, classes.height)
    least = (int(columns[0]), int(rows[0]))
    extent = (int(columns[-1]) + 1 - least[0], int(rows[-1]) + 1 - least[1])
    if extent[0] * extent[1] <= 4 * shape[0] * shape[1]:
        found = classes.read(1, window=RasterioWindow(*least, *extent))[np.ix_(rows - least[1], columns - least[0])]
    else:  # seen from far: most of its pixels are not asked for
        area = RasterioWindow(window.x * across, window.y * down, window.width * across, window.height * down)
        found = classes.read(1, window=area, out_shape=tuple(shape), resampling=Resampling.nearest)
    valid: BoolArray = ~np.isin(found, np.asarray(config.mask_values))
    return valid


def _centres(first: int, count: int, cells: int, factor: float, size: int) -> NDArray[np.int64]:
    """Where in the raster of classes the centres of ``cells`` equal parts of ``count`` pixels lie."""
    places = (first + (np.arange(cells) + 0.5) * (count / cells)) * factor
    inside: NDArray[np.int64] = np.clip(np.floor(places).astype(np.int64), 0, size - 1)
    return inside


def check_covers(classes: Any, first: Any, uri: str) -> None:
    """Raise SceneUnreadable for classes that do not lie where the open file ``first`` of the scene lies."""
    if first.crs is not None and classes.crs is not None and not same_crs(first.crs.to_wkt(), classes.crs.to_wkt()):
        raise SceneUnreadable(f"raster.mask_file {shown(uri)} is in another CRS than the scene; warp it to that first")
    across, down = first.width / classes.width, first.height / classes.height
    if first.crs is None or classes.crs is None:
        apart = abs(across - down) * min(classes.width, classes.height)
    else:
        far = float(np.abs(_corners(first) - _corners(classes)).max())
        apart = far / max(abs(first.transform.a), abs(first.transform.b))
    if apart > max(1.0, across / 2, down / 2):
        raise SceneUnreadable(
            f"raster.mask_file {shown(uri)} does not cover what the scene covers ({apart:.1f} pixels apart); cut it to "
            "the scene's extent first"
        )


def _corners(dataset: Any) -> FloatArray:
    """(2, 4) x and y of the corners in the world."""
    columns, rows = dataset.width * np.array([0, 1, 0, 1.0]), dataset.height * np.array([0, 0, 1, 1.0])
    one = dataset.transform
    return np.stack([one.a * columns + one.b * rows + one.c, one.d * columns + one.e * rows + one.f])
