"""Scenes from files, and back. rasterio's home, so GDAL's too."""

from pipeline.config.environment import hidden

with hidden():  # it reads the environment while it is imported
    import rasterio  # noqa: F401
