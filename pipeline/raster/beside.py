"""What lies beside a local scene and may change what GDAL says of it: told without opening anything.

GDAL reads georeference, masks, overviews, metadata and RPCs from files that begin as the scene's does, and from some
that do not (``RPC_*.XML`` of Pléiades, ``*_MTL.txt`` of Landsat). So counted are the former, and all that no raster of
the folder accounts for.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pipeline.raster.scene_files import RASTERS

MOST_STRAYS = 100
"""Files of a folder that belong to no raster in it: where there are more, a scene is not told at a glance."""
SETTLED_NS = 2_000_000_000
"""A folder whose time of change is younger than this may have changed again without showing it."""
FOLDERS = 64
"""Folders that are remembered."""

State = tuple[tuple[str, int, int], ...]
"""Names, sizes in bytes and times of change in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    changed_ns: int
    looked_ns: int
    owned: dict[str, list[str]]
    """What a raster's name begins with, in small letters → names of the files that belong to it."""
    strays: list[str]


_known: dict[str, _Folder] = {}
_LOCK = threading.Lock()


def state_beside(path: Path) -> State | None:
    """The state of what lies beside the scene at ``path``; None where that cannot be told cheaply.

    A file that comes, goes or changes there makes another state. Raises OSError.
    """
    stem, suffix = _parted(path.name)
    if suffix not in RASTERS:
        return None
    folder = _folder(path.parent)
    if len(folder.strays) > MOST_STRAYS:
        return None
    state = []
    for name in sorted({*folder.owned.get(stem, ()), *folder.strays}):
        status = (path.parent / name).stat()
        state.append((name, status.st_size, status.st_mtime_ns))
    return tuple(state)


def _folder(path: Path) -> _Folder:
    """What lies in a folder, listed again when that has changed."""
    key, changed_ns = str(path), path.stat().st_mtime_ns
    with _LOCK:
        known = _known.get(key)
        if known is not None and known.changed_ns == changed_ns and known.looked_ns - changed_ns > SETTLED_NS:
            return known
        found = _listed(path, changed_ns)
        _known.pop(key, None)
        _known[key] = found
        if len(_known) > FOLDERS:
            del _known[next(iter(_known))]
        return found


def _listed(path: Path, changed_ns: int) -> _Folder:
    looked_ns = time.time_ns()
    names = [entry.name for entry in os.scandir(path) if not entry.is_dir()]
    stems = {stem for stem, suffix in map(_parted, names) if suffix in RASTERS}
    owned: dict[str, list[str]] = defaultdict(list)
    strays: list[str] = []
    for name in names:
        low = name.lower()
        if low.endswith(RASTERS):
            continue
        owner = next((low[:end] for end in range(len(low), 0, -1) if low[:end] in stems), None)
        (strays if owner is None else owned[owner]).append(name)
    return _Folder(changed_ns=changed_ns, looked_ns=looked_ns, owned=dict(owned), strays=strays)


def _parted(name: str) -> tuple[str, str]:
    """A name in small letters, and its ending."""
    stem, point, ending = name.lower().rpartition(".")
    return stem, point + ending
