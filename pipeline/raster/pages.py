"""Pages of a TIFF: images of their own in one file, of which a scene is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.names import public_uri
from pipeline.raster.tiff import directories


def page_name(path: str, uri: str, config: RasterConfig) -> str:
    """GDAL's name of the page that the configuration asks for, of the file it knows as ``path``.

    Raises ConfigError for a page of a local file that is no TIFF or has not as many.
    """
    if config.page in (None, 1):
        return path
    if not path.startswith("/vsi"):
        count = len(directories(Path(path)))
        if config.page > count:
            has = f"has {count} (overviews and masks counted)" if count > 1 else "has one"
            raise ConfigError(f"raster.page asks for page {config.page}, but {public_uri(uri)} {has}")
    return f"GTIFF_DIR:{config.page}:{path}"


def page_warnings(dataset: Any, uri: str, config: RasterConfig) -> tuple[str, ...]:
    """What is to be said of pages that are not looked at."""
    pages = len(dataset.subdatasets) if dataset.driver == "GTiff" and config.page is None else 0
    if pages < 2:
        return ()
    said = f"{public_uri(uri)} has {pages} pages, and only the first is looked at"
    return (f"{said}; choose one with --raster.page (1 for the first, without this warning)",)
