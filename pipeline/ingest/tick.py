"""One tick: what is new in a feed is claimed, detected and published, and the ledger says what became of it.

A tick may be killed anywhere. What it had claimed is watched by the next tick for as long as the lease of this one
lasts, and then is that one's; what it had published is found published.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from pipeline.config import RunConfig
from pipeline.errors import ClusterError, ConfigError, ModelError, PipelineError, StorageError
from pipeline.ingest.claims import Claims
from pipeline.ingest.decisions import Candidate, in_turn
from pipeline.ingest.entry import HAS_RESULT
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.orphans import Orphans
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.survey import Survey, survey
from pipeline.ingest.watermark import (
    ASKED_FOR_CHANGES,
    UNFINISHED,
    Watermark,
    next_mark,
    read_watermark,
    since_when,
    write_watermark,
)
from pipeline.ingest.writing import clear, write_down
from pipeline.reporting.journal import Journal
from pipeline.runs.report import SceneReport
from pipeline.runs.run import SceneTask
from pipeline.storage.lease import Lease

Listing = Callable[[datetime | None], Iterable[SceneToDo | Unusable]]
"""What a feed shows, from a time on or all of it."""
Detect = Callable[[Iterable[SceneTask], int | None, Callable[[SceneReport], None]], None]
"""Tasks, how many may be in flight, and who is told of each that ended: a cluster, or this process."""
Collect = Callable[[Collection[str] | None], None]
"""Brings the catalogue up to date with these scenes, or with all of OUT. Raises StorageError or ConfigError."""

Note = Callable[[Ledger], Collection[str]]
"""Has the catalogue note which results count no more; of which scenes it said something else. Raises StorageError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one tick does."""

    max_scenes: int | None = None
    max_minutes: float | None = None
    """No scene is begun later; those in flight are finished."""
    backfill_share: float = 0.2
    """Of the scenes: the oldest first."""
    lease_s: float = 60.0
    """A tick that gives no sign of life for this long has died."""
    in_flight: int | None = None
    """Scenes at once; None: as many as suit those who work."""
    collect_every: int = 100
    """Scenes published until the catalogue hears of them; and once at the end."""


@dataclass(slots=True, kw_only=True)
class TickReport:
    """What a tick came to."""

    ended: Counter[str] = field(default_factory=Counter)
    """State → scenes that this tick brought there."""
    begun: int = 0
    """Scenes that it claimed."""
    not_reached: int = 0
    """Scenes that are due and were left for the next tick."""
    lost: int = 0
    """Scenes that another tick was faster with."""
    error: PipelineError | None = None
    """What ended the work early: not a scene's fault."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tools:
    """What a tick works with, so that it knows neither clusters nor catalogues."""

    unwanted: Callable[[SceneToDo], str | None]
    """Why a scene is filtered out, in a sentence; None for one that is wanted."""
    detect: Detect
    collect: Collect
    note: Note


class Tick:
    """One go at a feed."""

    def __init__(self, feed: FeedConfig, base: RunConfig, bounds: Bounds, tools: Tools, journal: Journal) -> None:
        """``base``: the run of the feed, with its ``out``."""
        self._feed, self._base, self._bounds, self._tools, self._journal = feed, base, bounds, tools, journal
        self.ledger = Ledger(base.out, journal.say)
        self._report = TickReport()
        self._begun = time.monotonic()
        self._uncollected: set[str] = set()
        self._behind = False
        self._lost: Callable[[], bool] = lambda: False

    def run(self, listing: Listing, retry: str | None = None) -> TickReport:
        """List, compare, claim, detect, publish, tell the catalogue. ``retry``: see :func:`clear`.

        Raises StorageError where the ledger cannot be kept; what ended the work for another reason is in the report.
        """
        token, ledger = uuid.uuid4().hex, self.ledger
        with Lease(ledger.ticks, token, self._bounds.lease_s, self._journal.say) as lease:
            self._lost = lease.is_lost
            ledger.mark(token)
            ledger.load(token)
            orphans = Orphans(ledger, token, self._bounds.lease_s, self._journal)
            orphans.recover()
            if retry is not None:
                clear(ledger, self._feed.name, retry)
            known = read_watermark(ledger, self._feed)
            since = None if retry is not None else since_when(self._feed, known, ledger.now())
            found = survey(self._feed.name, listing(since), self._tools.unwanted, ledger, since)
            self._say_unusable(found)
            try:
                with Claims(ledger, token, self._feed, self._base, self._journal) as claims:
                    self._report.ended = claims.outcomes
                    self._work(found, claims, orphans)
                self._report.error = claims.stopped
            except (ConfigError, ModelError, ClusterError) as error:
                self._report.error = error
            self._report.lost, self._report.begun = claims.lost, claims.begun
            write_down(found, ledger, self._feed.name)
            self._tell(lambda: self._uncollected.update(self._tools.note(ledger)))
            self._collect(self._uncollected, everything=bool(orphans.dead))
            self._mark(found, known)
            ledger.compact()
            orphans.clear()
            if self._behind:
                self._journal.say("the catalogue is brought up to date by the next tick")
            else:
                ledger.unmark(token)
        self._report.error = self._report.error or found.error
        return self._report

    def _say_unusable(self, found: Survey) -> None:
        """Of scenes with a result: their entries tell of that, and would say nothing of this."""
        for one in found.unusable:
            record = self.ledger.get(one.key)
            if record is not None and record.entry.state in HAS_RESULT:
                told = f"{record.entry.scene_id}: {one.reason}; until then its result stays"
                self._journal.emit("unusable", told, key=one.key, reason=one.reason)

    def _work(self, found: Survey, claims: Claims, orphans: Orphans) -> None:
        """First what may be done together, then, one by one, what ticks have died with."""
        bounds, detect = self._bounds, self._tools.detect
        turn = in_turn([one for one in found.candidates if not one.suspect], bounds.backfill_share)
        suspects = [one for one in found.candidates if one.suspect]

        def ended(report: SceneReport) -> None:
            claims.ended(report)
            if report.folder is not None:  # a failure too is written in the place of what was there before
                self._uncollected.add(report.scene_id)
            if len(self._uncollected) >= bounds.collect_every:
                self._collect(self._uncollected)
                self._uncollected = set()

        first = next(turn, None)
        if first is not None:
            tasks = self._tasks(chain([first], turn), claims, alone=bounds.in_flight == 1)
            detect(tasks, bounds.in_flight, ended)
        if claims.stopped is None:
            suspects += found.freed(orphans.recover(wait=True), self.ledger)
        done = 0
        # One of them is done whatever the bounds: a feed that is never worked off would never come to them.
        while suspects[done:] and not self._stopped(claims) and (done == 0 or not self._over(claims)):
            detect(self._tasks(iter(suspects[done : done + 1]), claims, alone=True, bound=False), 1, ended)
            done += 1
        self._report.not_reached += len(suspects) - done + sum(1 for _ in turn)

    def _mark(self, found: Survey, known: Watermark | None) -> None:
        """Note how far back the next tick must list."""
        if found.error is None and self._feed.source.kind == ASKED_FOR_CHANGES:
            begins = f"{self._feed.name}/"
            entries = [one.entry for one in self.ledger.records(*UNFINISHED) if one.entry.key.startswith(begins)]
            entries += found.not_reached(self.ledger)
            mark = next_mark(self._feed, found, known, entries, self.ledger.now())
            write_watermark(self.ledger, self._feed, mark)

    def _collect(self, scene_ids: Collection[str], *, everything: bool = False) -> None:
        if scene_ids or everything:
            self._tell(lambda: self._tools.collect(None if everything else scene_ids))

    def _tell(self, tell: Callable[[], None]) -> None:
        """Tell the catalogue. Where it cannot be told, the mark of this tick stays, and the next one tells it all."""
        try:
            tell()
        except (ConfigError, StorageError) as error:
            self._behind = True
            self._journal.emit("catalogue_failed", f"the catalogue: {error}", reason=str(error))

    def _tasks(
        self, turn: Iterator[Candidate], claims: Claims, *, alone: bool, bound: bool = True
    ) -> Iterator[SceneTask]:
        """Claims while it is drawn from."""
        for one in turn:
            if self._stopped(claims) or (bound and self._over(claims)):
                self._report.not_reached += 1
                if self._lost():
                    self._journal.say("other ticks take this one for dead: it ends what is in flight, and no more")
                return
            task = claims.claim(one, alone=alone)
            if task is not None:
                yield task

    def _stopped(self, claims: Claims) -> bool:
        """Whether nothing more may be begun: what a tick claims that others take for dead is theirs at once."""
        return claims.stopped is not None or self._lost()

    def _over(self, claims: Claims) -> bool:
        most, minutes = self._bounds.max_scenes, self._bounds.max_minutes
        late = minutes is not None and time.monotonic() - self._begun >= 60.0 * minutes
        return late or (most is not None and claims.begun >= most)
