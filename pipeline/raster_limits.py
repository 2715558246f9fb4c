"""What a raster may promise. Headers are claims, judged before anything of the size they claim is allocated."""

from __future__ import annotations

from typing import Any

from pipeline.config import RasterConfig
from pipeline.errors import SceneUnreadable
from pipeline.names import shown


def check_limits(dataset: Any, uri: str, config: RasterConfig) -> None:
    """Raise SceneUnreadable for more pixels, bands or bytes to decode at once than the configuration allows."""
    name = shown(uri)
    check_pixels(dataset.width, dataset.height, name, config)
    if dataset.count > config.max_bands:
        raise SceneUnreadable(f"{name} promises {dataset.count} bands; raster.max_bands allows {config.max_bands}")
    if dataset.count == 0:
        raise SceneUnreadable(f"{name} holds no band; name a file (or a part of it) with pixels")
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise SceneUnreadable(f"{name} has complex pixels ({dataset.dtypes[0]}); convert it to amplitudes first")
    height, width = dataset.block_shapes[0]
    together = str(getattr(dataset.interleaving, "value", "")).lower() == "pixel"
    size = height * width * (dataset.count if together else 1) * _item_bytes(dataset.dtypes[0])
    if size > config.max_block_mb * 1e6:
        raise SceneUnreadable(
            f"{name} is stored in blocks of {width} x {height} pixels ({size / 1e9:.1f} GB each), too large to decode "
            f"in bounded memory (raster.max_block_mb is {config.max_block_mb}); rewrite it with gdal_translate -co "
            f"TILED=YES"
        )


def check_pixels(width: int, height: int, name: str, config: RasterConfig) -> None:
    """Raise SceneUnreadable for a grid of more pixels than ``raster.max_gigapixels``."""
    if width * height > config.max_gigapixels * 1e9:
        raise SceneUnreadable(
            f"{name} promises {width} x {height} pixels ({width * height / 1e9:.4g} gigapixels); raster.max_gigapixels "
            f"allows {config.max_gigapixels:g}"
        )


def check_overview(overview: Any, full: tuple[int, int], uri: str) -> None:
    """Raise SceneUnreadable for an overview that is larger than its scene of ``full`` (width, height)."""
    if overview.width > full[0] or overview.height > full[1]:
        raise SceneUnreadable(
            f"{shown(uri)} is {full[0]} x {full[1]} pixels, and its overview {overview.width} x {overview.height}; "
            f"remove the overviews and make new ones (gdaladdo -clean, then gdaladdo)"
        )


def _item_bytes(dtype: str) -> int:
    return int("".join(filter(str.isdigit, dtype))) // 8
