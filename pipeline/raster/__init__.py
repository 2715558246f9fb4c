"""Scenes from files. rasterio's home."""
