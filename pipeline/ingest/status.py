"""What the ledger says altogether: counts, how far behind it is, the oldest failure, and what happens next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.ingest.entry import State
from pipeline.ingest.ledger import Ledger, Record
from pipeline.names import brief

FAILURES = (State.FAILED, State.POISON, State.INVALID)
NAMED = 5
"""Scenes of a kind that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a ledger at one moment."""

    counts: dict[str, int]
    """State → scenes, those with none too."""
    damaged: tuple[str, ...]
    """Sentences about files that are no entries."""
    lag_s: float
    """Seconds since the scene was first seen that has waited longest; 0 when none waits."""
    oldest_failure_s: float
    """Seconds since the oldest failure was written that still stands; 0 when there is none."""
    oldest_failure: str | None
    """That scene and its sentence."""
    next_try_s: float | None
    """Seconds until the first failed scene is tried again; None when none is."""
    poison: tuple[str, ...]
    """Scenes that only a person has tried again, and why; the first few."""


def status_of(ledger: Ledger) -> Status:
    """Sum up a ledger that was loaded."""
    now = ledger.now()
    counts = dict.fromkeys(map(str, State), 0)
    seen = [_age(now, one.entry.seen) for one in ledger.records(State.NEW)]
    failures = sorted(ledger.records(*FAILURES), key=lambda one: one.modified)
    failed = [one for one in failures if one.entry.state is State.FAILED]
    poison = [one for one in failures if one.entry.state is State.POISON]
    counts.update(ledger.counts())
    oldest = failures[0] if failures else None
    return Status(
        counts=counts,
        damaged=tuple(ledger.damage()),
        lag_s=max(seen, default=0.0),
        oldest_failure_s=0.0 if oldest is None else max(0.0, (now - oldest.modified).total_seconds()),
        oldest_failure=None if oldest is None else _told(oldest),
        next_try_s=min((_wait_s(now, one) for one in failed), default=None),
        poison=tuple(map(_told, poison[:NAMED])),
    )


def as_text(status: Status) -> str:
    """For people: the counts, then what is wrong, then what happens next."""
    lines = [f"{state:<10}{count:>9,}" for state, count in status.counts.items()]
    if status.lag_s > 0:
        lines.append(f"lag: the scene that has waited longest was first seen {duration(status.lag_s)} ago")
    if status.oldest_failure is not None:
        lines.append(f"oldest failure, {duration(status.oldest_failure_s)} ago: {status.oldest_failure}")
    lines += [f"poison: {one}" for one in status.poison]
    lines += status.damaged
    lines.append(f"next: {_next(status)}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time span for people: of two units the larger ones."""
    whole = round(seconds)
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if whole >= size:
            return f"{whole / size:.1f} {name}"
    return f"{whole} s"


def _next(status: Status) -> str:
    counts, said = status.counts, []
    if counts[State.NEW]:
        said.append(f"the next tick goes on with {counts[State.NEW]:,} that wait")
    if status.next_try_s is not None:
        when = f"in {duration(status.next_try_s)}" if status.next_try_s > 0 else "by the next tick"
        said.append(f"{counts[State.FAILED]:,} failed ones are tried again, the first {when}")
    if counts[State.CLAIMED]:
        said.append(
            f"{counts[State.CLAIMED]:,} are being worked on, or their tick died and the next one takes them over"
        )
    if counts[State.INVALID]:
        said.append(f"{counts[State.INVALID]:,} are tried again when they change, or by --retry invalid")
    if counts[State.POISON]:
        said.append(f"{counts[State.POISON]:,} only by --retry poison")
    return "; ".join(said) or "nothing waits"


def _told(record: Record) -> str:
    return f"{brief(record.entry.scene_id or record.entry.key)}: {record.entry.state}: {record.entry.sentence}"


def _wait_s(now: datetime, record: Record) -> float:
    waited_s = (now - record.modified).total_seconds()
    return max(0.0, record.entry.wait_s - waited_s) if waited_s >= 0 else 0.0


def _age(now: datetime, seen: str) -> float:
    try:
        return max(0.0, (now - datetime.fromisoformat(seen)).total_seconds())
    except (ValueError, TypeError):  # written by somebody else
        return 0.0
