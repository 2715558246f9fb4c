"""How far a run and its scenes are: live lines in a terminal, a line now and then in a log. rich's only home."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.reporting.journal import Journal

LOG_EVERY_S = 10.0
"""Seconds between two lines of a log on one thing: the run, or a scene. Several scenes take turns, so that a log grows
no faster."""
SHOWN = 4
"""Scenes that a terminal shows a line of."""


@dataclass(slots=True, eq=False)
class SceneProgress:
    """Counts tiles of one scene; ``tick`` after every block."""

    title: str
    tiles: int
    """Tiles planned."""
    scene_mpx: float
    """Scene pixels behind those tiles, each counted once, in millions."""
    run: Progress
    done: int = 0
    failed: int = 0
    found: int = 0
    kept: int = 0
    """Tiles that an earlier job had done: they say nothing about the rate."""
    _started: float = field(default_factory=time.perf_counter)
    _logged: float = 0.0

    def tick(self, done: int, failed: int, found: int, *, fresh: bool = True) -> None:
        """Add what one block brought: tiles done, tiles failed, detections before merging; now, or earlier."""
        self.kept += 0 if fresh else done + failed
        self.done += done
        self.failed += failed
        self.found += found
        due_s = LOG_EVERY_S * self.run.at_work
        if not self.run.live and self.left and time.perf_counter() - self._logged >= due_s:
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
        self.run.journal.emit(
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


class Progress:
    """Of a run: counts its scenes, and shows those at work."""

    def __init__(self, journal: Journal, scenes: int | None = None, console: Console | None = None) -> None:
        """``scenes``: of the run; None where nobody knows."""
        self.journal, self.scenes = journal, scenes
        self.ended = self.not_published = 0
        """Scenes."""
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._started = self._logged = time.perf_counter()
        self._at_work: list[SceneProgress] = []
        self._live: Live | None = None
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether lines are shown and renewed, in place of those that a log gets."""
        return self._live is not None

    @property
    def at_work(self) -> int:
        """Scenes whose blocks are being looked at."""
        return len(self._at_work)

    @contextlib.contextmanager
    def scene(self, title: str, tiles: int, mpx: float) -> Iterator[SceneProgress]:
        """One scene, from its first block to its last; at the end a line stays. For any thread."""
        one = SceneProgress(title, tiles, mpx, self)
        with self._lock:
            self._at_work.append(one)
            if self._live is None and self._console.is_terminal and self.journal.form == "text":
                self._live = Live(
                    get_renderable=self._shown, console=self._console, transient=True, refresh_per_second=4
                )
                self._live.start()
        try:
            yield one
        finally:
            with self._lock:
                self._at_work.remove(one)
                if not self._at_work and self._live is not None:
                    self._live.stop()
                    self._live = None
            one.tell()

    def end(self, *, published: bool) -> None:
        """One more scene has ended."""
        self.ended += 1
        self.not_published += not published

    def look_up(self) -> None:
        """Call now and then: a line in the log when one is due."""
        if not self.live and self._of_several and time.perf_counter() - self._logged >= LOG_EVERY_S:
            self._logged = time.perf_counter()
            self.journal.emit(
                "run_progress",
                self.line(),
                scenes=self.scenes,
                scenes_ended=self.ended,
                scenes_not_published=self.not_published,
                scenes_at_work=self.at_work,
                left_s=self.left_s,
            )

    def line(self) -> str:
        """One line: scenes, rate, and an estimate of the rest."""
        of_all = "" if self.scenes is None else f"/{self.scenes}"
        rest = f", about {_duration(self.left_s)} left" if self.left_s else ""
        return (
            f"{self.ended}{of_all} scenes ended, {self.not_published} of them not published, {self.at_work} at work, "
            f"{60 * self.ended / self._elapsed_s():.3g} scenes/min{rest}"
        )

    @property
    def left_s(self) -> float | None:
        """An estimate of the seconds the rest takes; None where nobody knows."""
        if self.scenes is None or not self.ended:
            return None
        return self._elapsed_s() / self.ended * (self.scenes - self.ended)

    @property
    def _of_several(self) -> bool:
        return self.scenes is None or self.scenes > 1

    def _elapsed_s(self) -> float:
        return max(time.perf_counter() - self._started, 1e-6)

    def _shown(self) -> Text:
        """Drawn by a thread of rich, under a lock that who ends the last scene waits for: ours is not taken here."""
        at_work = list(self._at_work)
        lines = [self.line()] if self._of_several else []
        lines += [one.line() for one in at_work[:SHOWN]]
        more = len(at_work) - SHOWN
        return Text("\n".join([*lines, *([f"and {more} more scenes"] if more > 0 else [])]))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
