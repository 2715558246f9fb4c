"""Scenes from files, and back. rasterio's home, so GDAL's too. Its face is named here; the rest, import by file."""

from pipeline.config.environment import hidden

with hidden():  # it reads the environment while it is imported
    import rasterio  # noqa: F401

from pipeline.raster.overview import measure_stretch, read_coverage, read_thumbnail
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.raster.writer import write_scene

__all__ = ["SceneReader", "measure_stretch", "open_scene", "read_coverage", "read_thumbnail", "write_scene"]
