"""What a person sees while a run works: a live line in a terminal, plain lines in a job's log. rich's only home."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

LOG_EVERY_S = 10.0
"""Seconds between two plain lines."""


@dataclass(slots=True)
class Progress:
    """Counts tiles of one scene. A context manager; ``tick`` after every block."""

    title: str
    tiles: int
    """Tiles planned."""
    scene_mpx: float
    """Scene pixels behind those tiles, each counted once, in millions."""
    console: Console = field(default_factory=lambda: Console(file=sys.stderr, highlight=False))
    done: int = 0
    failed: int = 0
    found: int = 0
    kept: int = 0
    """Tiles that an earlier job had done: they say nothing about the rate."""
    _started: float = field(default_factory=time.perf_counter)
    _logged: float = 0.0
    _live: Live | None = None

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live = Live(Text(self.line()), console=self.console, transient=True, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
        self.say(self.line())

    def tick(self, done: int, failed: int, found: int, *, fresh: bool = True) -> None:
        """Add what one block brought: tiles done, tiles failed, detections before merging; now, or earlier."""
        self.kept += 0 if fresh else done + failed
        self.done += done
        self.failed += failed
        self.found += found
        if self._live is not None:
            self._live.update(Text(self.line()))
        elif time.perf_counter() - self._logged >= LOG_EVERY_S and self.done + self.failed < self.tiles:
            self._logged = time.perf_counter()
            self.say(self.line())

    def line(self) -> str:
        """One line: tiles, rate, and an estimate of the rest."""
        elapsed = max(time.perf_counter() - self._started, 1e-6)
        over = self.done + self.failed
        left, fresh = self.tiles - over, over - self.kept
        rate = self.scene_mpx * fresh / max(self.tiles, 1) / elapsed
        rest = f", about {_duration(elapsed / fresh * left)} left" if fresh and left else ""
        return (
            f"{self.title}: {self.done}/{self.tiles} tiles done, {self.failed} failed, {left} left, "
            f"{self.found} boxes so far, {rate:.3g} Mpx/s{rest}"
        )

    def say(self, message: str) -> None:
        """A line that stays."""
        self.console.print(message, soft_wrap=True, markup=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
