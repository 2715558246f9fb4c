"""The one list of formats that detections are written in. A new one is a file with a ``write``, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.outputs import geojson, geopackage, geoparquet
from pipeline.outputs.result import Result

Write = Callable[[Result, Path], None]
"""Writes one or more files named ``detections.*`` into a folder, or none where the format has no place for the scene.

The same result gives the same bytes. Raises OSError or StorageError when the disk does.
"""

FORMATS: dict[str, Write] = {
    "parquet": geoparquet.write,
    "gpkg": geopackage.write,
    "geojson": geojson.write,
}
"""Suffix of the file → its writer, in the order they are written."""
