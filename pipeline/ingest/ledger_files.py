"""Which files a ledger holds: those of scenes, and the marks of ticks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pipeline.storage.conditional import Listed, list_objects
from pipeline.storage.paths import join

TICKS = "ticks"
"""Folder in the ledger: a mark of every tick that is at work, and its lease."""
READERS = 16
"""Files read, and folders listed, at once."""


def ledger_files(folder: str, *, many: bool) -> Iterator[Listed]:
    """Every file of the ledger at ``folder``; ``many``: list its 256 folders at once and not one after another.

    Raises StorageError.
    """
    if not many:
        yield from list_objects(folder)
        return
    inside = [f"{number:02x}" for number in range(256)] + [TICKS]
    with ThreadPoolExecutor(READERS) as pool:
        pages = pool.map(lambda name: list(list_objects(join(folder, name))), inside)
        for name, page in zip(inside, pages, strict=True):
            yield from (replace(one, name=f"{name}/{one.name}") for one in page)


def is_entry(name: str) -> bool:
    """Whether a file is that of a scene."""
    folder, _, rest = name.partition("/")
    return len(folder) == 2 and rest.endswith(".json") and "/" not in rest
