"""How often a thing is tried again and after which pauses: every number of it, for reading, for writing and for tasks.

Functions that ask a store take a :class:`Patience` as their last parameter; :data:`PATIENCE` is what they have if none
is given.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pipeline.threads import pause as wait

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Pauses between the attempts at one thing, and what those underneath us try again by themselves."""

    pauses_s: tuple[float, ...] = (0.5, 2.0, 5.0)
    spread: float = 0.25
    """A pause grows by up to this share of itself, so that workers who failed together do not come back together."""
    range_retries: int = 2
    """How often GDAL asks for one range of a file again: cheaper than the whole window."""
    range_pause_s: float = 0.25
    """GDAL's first pause; it makes the next ones longer."""
    client_attempts: int = 1
    """Of botocore at one call. More would multiply s3fs's five, and ours: a store that is down for good took minutes
    to be so."""
    task_retries: int = 3
    """How often Ray runs a task again whose process or node died."""

    @property
    def attempts(self) -> int:
        """How often a thing is tried at most."""
        return len(self.pauses_s) + 1

    def pauses(self, key: str) -> Iterator[float]:
        """The pauses, seconds. What they grow by is drawn from ``key``, what is tried: a run repeats its own pauses."""
        draw = random.Random(key)
        for pause in self.pauses_s:
            yield pause * (1.0 + self.spread * draw.random())


PATIENCE = Patience()


def retried(
    action: Callable[[], _T], may_pass: Callable[[Exception], bool], key: str, patience: Patience = PATIENCE
) -> _T:
    """What ``action`` returns, tried again after a pause as long as its exception ``may_pass``.

    Raises the exception of the last attempt. ``key`` names what is tried, see :meth:`Patience.pauses`.
    """
    for pause in patience.pauses(key):
        try:
            return action()
        except Exception as error:
            if not may_pass(error):
                raise
        wait(pause)
    return action()
