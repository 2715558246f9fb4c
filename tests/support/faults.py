"""Real faults around a real detector: processes that die, hang, answer slowly, or run out of memory."""

from __future__ import annotations

import os
import signal
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.detectors.protocol import Detector
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
class TorchOutOfMemory(Wrapped):
    """The network of a real detector raises torch's own error on batches of more than ``most`` chips, as a GPU does."""

    most: int = 1
    batches: list[int] = field(default_factory=list)
    """Chips of every batch that the network was shown, refused ones too."""
    refused: list[weakref.ref[Any]] = field(default_factory=list)
    still_held: int = 0
    """Refused batches that were in memory yet when the next one came."""

    def __post_init__(self) -> None:
        real = self.inner
        while isinstance(real, Wrapped):
            real = real.inner
        network = getattr(real, "_network", None) or real.network  # type: ignore[attr-defined]
        network.register_forward_pre_hook(self.refuse, with_kwargs=True)

    def refuse(self, network: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        pixels = args[0] if args else kwargs["pixel_values"]
        count = len(pixels)
        self.batches.append(count)
        self.still_held += sum(batch() is not None for batch in self.refused)
        if count > self.most:
            self.refused.append(weakref.ref(pixels))
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {count}.00 GiB.")


@dataclass
class Hangs(Wrapped):
    """Never answers when it is shown one certain window, or any when ``window`` is None."""

    window: Window | None = None

    def before(self, chips: Sequence[Chip]) -> None:
        while self.window is None or any(chip.window == self.window for chip in chips):
            time.sleep(1)


@dataclass
class Sleepy(Wrapped):
    """Takes its time for every batch."""

    delay_s: float = 1.0

    def before(self, chips: Sequence[Chip]) -> None:
        time.sleep(self.delay_s)


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
