"""Writing GeoTIFFs of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipeline.errors import StorageError
from pipeline.raster.scene import open_scene
from pipeline.raster.writer import write_scene
from pipeline.types import Window
from tests.support.reading import CONFIG
from tests.support.scenes import NORTH_UP, UTM, picture


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Streamed in windows of whole blocks; none is rendered twice, all are."""
    full = picture(300, 410, 3, "uint16")
    seen = np.zeros((300, 410), int)

    def render(window: Window) -> np.ndarray:
        area = (slice(window.y, window.y1), slice(window.x, window.x1))
        seen[area] += 1
        return full[area]

    for tiled, block_px in ((True, 128), (False, 16)):
        seen[:] = 0
        path = tmp_path / f"{tiled}.tif"
        write_scene(path, width=410, height=300, bands=3, dtype="uint16", crs=UTM, transform=tuple(NORTH_UP)[:6],
                    render=render, tiled=tiled, block_px=block_px, overviews=tiled, tags={"SENSOR": "made"},
                    nodata=0)  # fmt: skip
        assert (seen == 1).all()
        with rasterio.open(path) as file:
            assert (file.read().transpose(1, 2, 0) == full).all()
            assert file.block_shapes[0] == ((128, 128) if tiled else (16, 410))
            assert file.nodata == 0
            assert file.overviews(1) == ([2] if tiled else [])
        assert open_scene(str(path), CONFIG).sensor == "made"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(window: Window) -> np.ndarray:
        raise RuntimeError(f"no pixels for {window}")

    options: dict[str, Any] = {"width": 64, "height": 64, "bands": 1, "dtype": "uint8", "crs": None, "transform": None}
    with pytest.raises(RuntimeError, match="no pixels"):
        write_scene(tmp_path / "scene.tif", render=fail, **options)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match="cannot be written"):
        write_scene(tmp_path / "missing" / "scene.tif", render=fail, **options)
