"""Turns against others who write to the same catalogue: its files are exchanged only as they were read."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from pipeline.errors import StorageError, redacted

CATALOGUE = "_catalogue"
"""Folder beside those of the scenes; no scene is called so."""
TURNS, PAUSE_S = 30, 0.2
"""Attempts against others who write at the same time, and the mean pause after the first of them."""


def some_turns() -> Iterator[None]:
    """One turn after another, with a pause after each; then no more."""
    for turn in range(TURNS):
        yield
        time.sleep(random.expovariate(1 / PAUSE_S) * min(turn + 1, 10))


def turns(folder: str) -> Iterator[None]:
    """The same. Raises StorageError when there were too many, with the address of the ``folder``."""
    yield from some_turns()
    raise StorageError(f"others write to {redacted(folder)} without a pause; try again later")
