"""Scenes from files. rasterio's home. Its face is named here; everything else is imported from its file."""

from __future__ import annotations

from pipeline.raster.overview import measure_stretch, read_coverage, read_thumbnail
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.raster.writer import write_scene

__all__ = ["SceneReader", "measure_stretch", "open_scene", "read_coverage", "read_thumbnail", "write_scene"]
