"""Which data PROJ has: with a grid more or less it may take another way between two datums."""

from __future__ import annotations

from pathlib import Path

from pyproj import proj_version_str
from pyproj.datadir import get_data_dir, get_user_data_dir  # type: ignore[attr-defined]
from pyproj.exceptions import DataDirError


def state_of_grids() -> tuple[str, tuple[tuple[str, int, int], ...]]:
    """PROJ's version, and names, sizes (bytes) and times of change (nanoseconds) of its files."""
    found = []
    try:
        folders = [*get_data_dir().split(":"), get_user_data_dir()]
    except DataDirError:
        folders = []
    for folder in map(Path, folders):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns))
    return proj_version_str, tuple(found)
