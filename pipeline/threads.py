"""Several threads of one process: how those that work are told to stop, and warnings, which belong to all of them.

Ctrl-C reaches the main thread alone. Work in another thread looks up wherever it would wait, and between its steps: it
ends with :class:`Halted` there, as the main thread does with KeyboardInterrupt.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

LOOK_UP_S = 0.2
"""How often who waits for something else looks up, seconds."""


class Halted(KeyboardInterrupt):
    """This thread was told to stop."""


class Halt:
    """Tells the threads that work inside :meth:`heeded` to stop."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def tell(self) -> None:
        """From here on they end as soon as they look up."""
        self._told.set()

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Inside, this thread looks up."""
        _HERE.told = self._told
        try:
            yield
        finally:
            del _HERE.told


_HERE = threading.local()


def look_up() -> None:
    """Raise Halted when this thread was told to stop."""
    told = getattr(_HERE, "told", None)
    if told is not None and told.is_set():
        raise Halted


def pause(seconds: float) -> None:
    """Wait; raises Halted as soon as this thread is told to stop."""
    told = getattr(_HERE, "told", None)
    if told is None:
        time.sleep(seconds)
    elif told.wait(seconds):
        raise Halted


@contextlib.contextmanager
def unwarned(category: type[Warning], message: str = "") -> Iterator[None]:
    """Inside, warnings of a category whose text begins with ``message`` (a pattern) are not shown.

    Python's own ``catch_warnings`` puts back what it found: in several threads at once, what another one has set.
    """
    ours = ("ignore", re.compile(message, re.IGNORECASE) if message else None, category, None, 0)
    with _LOCK:
        _INSIDE[ours] += 1
        warnings.filterwarnings("ignore", message, category)
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE[ours] -= 1
            if not _INSIDE[ours]:
                filters: Any = warnings.filters
                with contextlib.suppress(ValueError):  # somebody else has put back what they found
                    filters.remove(ours)


_LOCK = threading.Lock()
_INSIDE: Counter[tuple[Any, ...]] = Counter()
"""Filter → threads that are inside."""
