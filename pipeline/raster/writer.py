"""GeoTIFFs of any size, written in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from pipeline.config import RasterConfig
from pipeline.errors import StorageError
from pipeline.raster.gdal import gdal_environment
from pipeline.types import Window

PIECE_PX = 1_000_000
"""Pixels that are asked for at a time."""


class Layout(TypedDict, total=False):
    """Where :func:`write_scene` places a file, and how it lays it out."""

    crs: str | None
    """Anything rasterio takes for one. Default None: a pixel scene."""
    transform: Sequence[float] | None
    """(a, b, c, d, e, f), pixels → world. Default None."""

    tiled: bool
    """Tiles (the default) or strips."""
    block_px: int
    """Side of a tile, a multiple of 16, or the rows of a strip. Default 512."""
    compress: str
    """GDAL's name of the compression. Default ``deflate``."""
    level: int
    """Effort of ``deflate``, 1 to 9; 1 is four times as fast as the default, 6, and a fifth larger."""
    sparse: bool
    """Leave out blocks that are black or nodata throughout; they take no room, and readers fill them in."""
    nodata: float | None
    overviews: bool
    """Add averaged overviews down to 256 pixels."""
    tags: dict[str, str] | None


def write_scene(
    path: str | Path, *, width: int, height: int, bands: int, dtype: str,
    render: Callable[[Window], NDArray[Any]], **layout: Unpack[Layout],
) -> None:  # fmt: skip
    """Write a GeoTIFF of any size in bounded memory, a row of blocks at a time; it appears when it is complete.

    ``render`` answers the (H, W, C) pixels of a scene window. Raises StorageError when the file cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    tiled, block_px = layout.get("tiled", True), layout.get("block_px", 512)
    profile: dict[str, Any] = {"driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": dtype,
                               "crs": layout.get("crs"), "nodata": layout.get("nodata"), "tiled": tiled,
                               "blockysize": block_px, "compress": layout.get("compress", "deflate"),
                               "bigtiff": "IF_SAFER", "interleave": "pixel"}  # fmt: skip
    profile |= {"blockxsize": block_px} if tiled else {}
    transform = layout.get("transform")
    profile |= {"transform": rasterio.Affine(*transform)} if transform is not None else {}
    profile |= {"zlevel": layout["level"]} if "level" in layout else {}
    profile |= {"sparse_ok": True} if layout.get("sparse", False) else {}
    try:
        with gdal_environment(RasterConfig(), ()):
            with rasterio.open(part, "w", **profile) as file:
                file.update_tags(**(layout.get("tags") or {}))
                for window in _writing_windows(width, height, block_px, tiled):
                    area = RasterioWindow(window.x, window.y, window.width, window.height)
                    file.write(np.ascontiguousarray(render(window).transpose(2, 0, 1)), window=area)
            if layout.get("overviews", False):
                with rasterio.open(part, "r+") as file:
                    file.build_overviews(overview_factors(width, height), Resampling.average)
        part.replace(target)
    except (RasterioError, OSError) as error:
        raise StorageError(f"{target} cannot be written ({error}); check the folder and the free space") from error
    finally:
        part.unlink(missing_ok=True)


def stored_blocks(path: str | Path) -> tuple[int, int]:
    """(stored, all) blocks of a local GeoTIFF: those that take room in the file, and those of its grid."""
    with gdal_environment(RasterConfig(), ()), rasterio.open(path, driver="GTiff") as file:
        rows, columns = (-(-size // block) for size, block in zip(file.shape, file.block_shapes[0], strict=True))
        sizes = (
            file.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1)
            for row in range(rows)
            for column in range(columns)
        )
        return sum(size is not None for size in sizes), rows * columns


def overview_factors(width: int, height: int) -> list[int]:
    """2, 4, 8 … until the smallest overview fits 256 pixels."""
    steps = int(np.ceil(np.log2(max(1.0, max(width, height) / 256))))
    return [2**step for step in range(1, steps + 1)]


def _writing_windows(width: int, height: int, block_px: int, tiled: bool) -> Iterator[Window]:
    """Whole blocks of the file, so that none is compressed twice: about PIECE_PX pixels of tiles, or one strip."""
    columns = max(1, PIECE_PX // block_px // block_px) * block_px if tiled else width
    for y in range(0, height, block_px):
        for x in range(0, width, columns):
            yield Window(x=x, y=y, width=min(columns, width - x), height=min(block_px, height - y))
