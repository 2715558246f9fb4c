"""Many small parts → few large files: what readers of the dataset gain from, and what only a list tells them of.

Like the merging of sorted runs: parts of a model and a month are put together with the compacted files that are still
small; those that have their size are left alone, so a row is written few times. Nothing is held while that goes on:
when somebody has exchanged one of the files meanwhile, and removed it, what was made is dropped, and swept after a day.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from pipeline.catalogue.scene_lists import SceneLists
from pipeline.catalogue.snapshot import (
    COMPACTED,
    PART,
    DatasetFile,
    Snapshot,
    folder_of,
    put_in_place,
    read_snapshot,
    still_listed,
    swapped,
)
from pipeline.catalogue.turns import some_turns
from pipeline.outputs.dataset_sort import sorted_files
from pipeline.storage.moving import local_copy
from pipeline.storage.paths import join

SMALLEST_BYTES, TARGET_BYTES = 100_000_000, 256_000_000
"""A compacted file has its size from the first on, and ends soon after the second."""
PARTS, MOST_PARTS = 64, 1024
"""Parts of a model and a month that are worth compacting, and those that are whatever it costs."""
WORTH = 4
"""Small compacted files are written again when the parts are this share of them, as a fraction of 1, or more."""


def compact(out_uri: str, *, target_bytes: int = TARGET_BYTES, parts: int = PARTS) -> int:
    """Compact what is worth it in the dataset of ``out_uri``; how many files went into others. Raises StorageError."""
    there = read_snapshot(out_uri)
    if there is None:
        return 0
    done = 0
    for model, month in sorted({(one.model, one.month) for one in there[0].files}):
        files = [one for one in there[0].files if (one.model, one.month) == (model, month)]
        chosen = _due(files, parts)
        try:
            if chosen and _compacted(out_uri, chosen, target_bytes, there[0].retired):
                done += len(chosen)
        except OSError:
            if still_listed(out_uri, {one.path for one in chosen}):
                raise
    return done


def _due(files: Sequence[DatasetFile], parts: int) -> list[DatasetFile]:
    """The files of one model and month to put together now; none when it is not worth it."""
    loose = [one for one in files if one.tier == PART]
    small = [one for one in files if one.tier == COMPACTED and one.bytes < SMALLEST_BYTES]
    size = sum(one.bytes for one in loose)
    many = len(loose) >= parts or (len(loose) > 1 and size >= SMALLEST_BYTES)
    worth = size * WORTH >= sum(one.bytes for one in small) or len(loose) >= MOST_PARTS
    return [*loose, *small] if many and worth else []


def _compacted(
    out_uri: str, chosen: Sequence[DatasetFile], target_bytes: int, retired: Collection[str]
) -> bool:  # fmt: skip
    """Put files together and exchange them for what comes out; False when somebody changed one meanwhile."""
    base, first = folder_of(out_uri), chosen[0]
    kind = DatasetFile(
        path="", rows=0, bytes=0, bbox=(0, 0, 0, 0), kinds=(), tier=COMPACTED, model=first.model, month=first.month
    )
    made = []
    with tempfile.TemporaryDirectory(prefix="kestrel-") as name:
        folder = Path(name)
        paths = [local_copy(join(base, one.path), folder) for one in chosen]
        for path, written in sorted_files(
            paths, folder, target_bytes=target_bytes, smallest_bytes=min(SMALLEST_BYTES, target_bytes)
        ):
            made.append(put_in_place(base, kind, path, written, retired))
            path.unlink()
    return _exchanged(out_uri, chosen, made)


def _exchanged(out_uri: str, chosen: Sequence[DatasetFile], made: Sequence[DatasetFile]) -> bool:
    gone = {one.path for one in chosen}
    for _ in some_turns():
        there = read_snapshot(out_uri)
        if there is None or not gone <= there[0].paths:
            return False
        snapshot, version = there
        with tempfile.TemporaryDirectory(prefix="kestrel-") as name:
            after = _after(out_uri, snapshot, gone, made, Path(name))
        if swapped(out_uri, after, version):
            return True
    return False


def _after(out_uri: str, snapshot: Snapshot, gone: set[str], made: Sequence[DatasetFile], folder: Path) -> Snapshot:
    lists = SceneLists(out_uri, snapshot, folder).compacted(made[0].month, gone)
    return snapshot.following([*(one for one in snapshot.files if one.path not in gone), *made], lists)
