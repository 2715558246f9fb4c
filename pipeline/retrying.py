"""How often a store is asked again and after which pauses: one policy for reading scenes and for writing results."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Pauses between the attempts at one thing."""

    pauses_s: tuple[float, ...] = (0.5, 2.0, 5.0)
    spread: float = 0.25
    """A pause grows by up to this share of itself, so that workers who failed together do not come back together."""

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


def retried(action: Callable[[], _T], may_pass: Callable[[Exception], bool], key: str) -> _T:
    """What ``action`` returns, tried again after a pause as long as its exception ``may_pass``.

    Raises the exception of the last attempt. ``key`` names what is tried, see :meth:`Patience.pauses`.
    """
    for pause in PATIENCE.pauses(key):
        try:
            return action()
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(pause)
    return action()
