"""Out of memory, whoever says so: torch's error and Python's become one, so that a batch can be halved.

Knows torch without importing it: only a process that has imported it can raise its error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.types import Chip


@contextmanager
def memory_errors(chips: Sequence[Chip]) -> Iterator[None]:
    """Raise MemoryError for ``torch.OutOfMemoryError`` (of a GPU or of any other device), wherever inside it arises."""
    try:
        yield
    except Exception as error:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(error, torch.OutOfMemoryError):
            raise
        side = max(max(chip.pixels.shape[:2]) for chip in chips)
        said = (str(error).strip().splitlines() or ["torch gives no reason"])[0]
        raise MemoryError(f"no room for {len(chips)} chips of up to {side} px ({said})") from error
