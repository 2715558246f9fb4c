"""What a tick does with a scene of the feed, by what the ledger knows of it, and why: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pipeline.ingest.entry import HAS_RESULT, Entry, State
from pipeline.ingest.ledger import Record
from pipeline.ingest.retries import is_due
from pipeline.ingest.scene_to_do import SceneToDo

What = Literal["detect", "look", "leave"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``look``: ask the store whether its files have changed, and detect it when they have."""

    what: What
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A scene to look at or to detect."""

    scene: SceneToDo
    record: Record | None
    decision: Decision

    @property
    def entry(self) -> Entry | None:
        """What the ledger knows of it."""
        return None if self.record is None else self.record.entry

    @property
    def suspect(self) -> bool:
        """Whether it is done alone, because a tick died with it in flight."""
        return self.entry is not None and self.entry.suspect

    @property
    def stops(self) -> int:
        """How many ticks it has ended."""
        return 0 if self.entry is None else self.entry.stops


def decide(scene: SceneToDo, record: Record | None, now: datetime) -> Decision:
    """``now`` and the times of ``record`` are of the same clock, the store's."""
    if record is None:
        return Decision(what="detect", why="new")
    entry, same = record.entry, record.entry.hint == scene.hint
    changed = Decision(what="look", why="its description changed: have its files?")
    if entry.state is State.CLAIMED:
        return Decision(what="leave", why="another tick is at work on it")
    if entry.state is State.FAILED:
        waited_s = (now - record.modified).total_seconds()
        # Without a hint the last go was of no version at all: the scene was replaced meanwhile, and may be once more.
        if (entry.hint and not same) or is_due(waited_s, entry.wait_s):
            return Decision(what="detect", why=f"failed {entry.failures} times, its turn has come again")
        return Decision(what="leave", why=f"failed, tried again in {entry.wait_s - waited_s:.0f} s: {entry.sentence}")
    if entry.state in HAS_RESULT:
        return Decision(what="leave", why="published") if same else changed
    if entry.state in (State.INVALID, State.POISON):
        remedy = f"--retry {entry.state.lower()} tries it all the same"
        return Decision(what="leave", why=f"{entry.sentence}; {remedy}") if same else changed
    if entry.state is State.SKIPPED and entry.version and same:  # found by looking at the scene itself
        return Decision(what="leave", why=entry.sentence)
    return Decision(what="detect", why="withdrawn, and here again" if entry.state is State.WITHDRAWN else "new")


def in_turn(candidates: Sequence[Candidate], backfill_share: float) -> Iterator[Candidate]:
    """Newest first, and of all so large a share oldest first; scenes without a time count as old. What has ended ticks
    comes last, so that a scene that no configuration fits holds up no other."""
    waiting = sorted((one for one in candidates if not one.stops), key=_moment, reverse=True)
    first, last, owed = 0, len(waiting) - 1, 0.0
    while first <= last:
        owed += backfill_share
        if owed >= 1.0:
            owed -= 1.0
            yield waiting[last]
            last -= 1
        else:
            yield waiting[first]
            first += 1
    yield from sorted((one for one in candidates if one.stops), key=lambda one: one.stops)


def _moment(one: Candidate) -> datetime:
    return one.scene.acquired or one.scene.updated or datetime.min.replace(tzinfo=UTC)
