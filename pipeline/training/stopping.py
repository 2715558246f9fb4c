"""A training that is told to stop ends between two steps, and keeps what it has learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Answer = TypeVar("Answer")


class Wholly:
    """Does what must not be left half done: signals to stop are raised in the main thread, and this is another."""

    def __init__(self) -> None:
        self._hand = ThreadPoolExecutor(1)

    def __call__(self, action: Callable[[], Answer]) -> Answer:
        """What ``action`` answers. Raises what it raises, and KeyboardInterrupt when it is done. The thread does one
        thing after the other: what was begun is done when it comes to the next."""
        try:
            return self._hand.submit(action).result()
        except KeyboardInterrupt:
            self._hand.submit(int).result()
            raise


@contextmanager
def keeping(save: Callable[[], object]) -> Iterator[None]:
    """``save`` is called when the block is left because the process was told to stop."""
    try:
        yield
    except KeyboardInterrupt:
        save()
        raise
