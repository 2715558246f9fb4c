"""How far a scene is: a live line in a terminal, a line now and then in a log. rich's only home."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.reporting.journal import Journal

LOG_EVERY_S = 10.0
"""Seconds between two lines of a log."""


@dataclass(slots=True)
class Progress:
    """Counts tiles of one scene. A context manager; ``tick`` after every block."""

    title: str
    tiles: int
    """Tiles planned."""
    scene_mpx: float
    """Scene pixels behind those tiles, each counted once, in millions."""
    journal: Journal
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
        if self.console.is_terminal and self.journal.form == "text":
            self._live = Live(Text(self.line()), console=self.console, transient=True, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
        self.tell()

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
            self.tell()

    @property
    def left(self) -> int:
        """Tiles without an outcome yet."""
        return self.tiles - self.done - self.failed

    @property
    def mpx_per_s(self) -> float:
        """Scene pixels behind the tiles that were done since the start, in millions per second."""
        return self.scene_mpx * self._fresh / max(self.tiles, 1) / self._elapsed_s()

    @property
    def left_s(self) -> float | None:
        """An estimate of the seconds the rest takes; None before this job has done a tile."""
        return self._elapsed_s() / self._fresh * self.left if self._fresh else None

    @property
    def _fresh(self) -> int:
        return self.tiles - self.left - self.kept

    def _elapsed_s(self) -> float:
        return max(time.perf_counter() - self._started, 1e-6)

    def line(self) -> str:
        """One line: tiles, rate, and an estimate of the rest."""
        rest = f", about {_duration(self.left_s)} left" if self.left_s else ""
        return (
            f"{self.title}: {self.done}/{self.tiles} tiles done, {self.failed} failed, {self.left} left, "
            f"{self.found} boxes so far, {self.mpx_per_s:.3g} Mpx/s{rest}"
        )

    def tell(self) -> None:
        """A line that stays."""
        self.journal.emit(
            "progress",
            self.line(),
            scene_id=self.title,
            tiles=self.tiles,
            tiles_done=self.done,
            tiles_failed=self.failed,
            boxes=self.found,
            mpx_per_s=self.mpx_per_s,
            left_s=self.left_s,
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
