"""Real faults around a real detector: processes that die, answer slowly, or run out of memory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.detectors.base import Detector
from pipeline.errors import ModelError
from pipeline.types import Chip, Look, ModelCard, Window

Load = Callable[[], Detector]


@dataclass
class Wrapped:
    """A detector that is another one; subclasses do something before each look."""

    inner: Detector

    @property
    def card(self) -> ModelCard:
        return self.inner.card

    def before(self, chips: Sequence[Chip]) -> None:
        """What happens before the look."""

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        self.before(chips)
        return self.inner.detect(chips, score_threshold=score_threshold, attention=attention)


@dataclass
class Poisoned(Wrapped):
    """Kills its own process (SIGKILL, as the kernel does) whenever it is shown one certain window."""

    window: Window | None = None

    def before(self, chips: Sequence[Chip]) -> None:
        if any(chip.window == self.window for chip in chips):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class DiesOnce(Wrapped):
    """Kills its own process at its first look, once in the whole run: the first to create ``marker`` dies."""

    marker: Path = Path()

    def before(self, chips: Sequence[Chip]) -> None:
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Refuses(Wrapped):
    """Raises ModelError for one certain window, as a network that answers NaN does."""

    window: Window | None = None

    def before(self, chips: Sequence[Chip]) -> None:
        if any(chip.window == self.window for chip in chips):
            raise ModelError("the network answered NaN for this chip")


@dataclass
class SmallMemory(Wrapped):
    """Runs out of memory on batches of more than ``most`` chips."""

    most: int = 1

    def before(self, chips: Sequence[Chip]) -> None:
        if len(chips) > self.most:
            raise MemoryError(f"a batch of {len(chips)} chips does not fit")


@dataclass
class Slow(Wrapped):
    """Notes the node it works on in ``diary`` and takes its time, so that a node can be removed meanwhile."""

    diary: Path = Path()
    delay_s: float = 0.5

    def before(self, chips: Sequence[Chip]) -> None:
        import ray

        with self.diary.open("a") as diary:
            diary.write(f"{ray.get_runtime_context().get_node_id()}\n")
        time.sleep(self.delay_s)


@dataclass
class Jittery(Wrapped):
    """Takes a pseudo-random time for each look, so that blocks of several workers end in shuffled order."""

    def before(self, chips: Sequence[Chip]) -> None:
        time.sleep((hash((chips[0].window.x, chips[0].window.y)) % 7) / 50)


@dataclass(frozen=True)
class Faulty:
    """A picklable loader: the detector of ``load`` wrapped in ``kind(**settings)``."""

    load: Load
    kind: type[Wrapped]
    settings: tuple[tuple[str, object], ...] = ()

    def __call__(self) -> Detector:
        return self.kind(self.load(), **dict(self.settings))


def dies_while_loading() -> Detector:
    """A loader whose process is killed, as by the kernel when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def slow_square(number: int) -> int:
    """A task that takes its time, now and then more than the one after it."""
    time.sleep(0.05 * (number % 3))
    return number * number


def dies_once(marker: Path) -> str:
    """A task whose process is killed the first time."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def always_dies(_: Path) -> None:
    """A task whose process is killed every time."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuses(_: Path) -> None:
    """A task whose input is wrong."""
    raise ValueError("boxes must be finite")
