"""From one state of a scene to the next: pure functions of an entry. What they return is written if unchanged, or not.

What is published stays known while a newer version is worked on: ``hint`` and ``version`` of an entry change only when
a go has ended.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import StorageError
from pipeline.ingest.entry import HAS_RESULT, MOST_ATTEMPTS, Attempt, Claim, Entry, State
from pipeline.ingest.retries import MOST_DEATHS, MOST_FAILURES, STOPS_THE_TICK, End, pause_s, state_after


def claimed(entry: Entry, *, tick: str, hint: str, version: str, alone: bool) -> Entry:
    """A tick begins with it. Raises ValueError for one that somebody is at work on."""
    if entry.state is State.CLAIMED:
        raise ValueError(f"{entry.key} is claimed already")
    claim = Claim(tick=tick, before=entry.state, hint=hint, version=version, alone=alone)
    return replace(entry, state=State.CLAIMED, claim=claim, sentence="")


def ended(entry: Entry, end: End, at: str) -> Entry:
    """The go that ``entry`` was claimed for has ended."""
    claim = _claim_of(entry)
    same = claim.version == entry.version
    stops = end.exit_code in STOPS_THE_TICK
    good = end.status in (*HAS_RESULT, State.SKIPPED)
    failures = 0 if good else (entry.failures if same else 0) + (not stops)
    kills = 0 if good else (entry.kills if same else 0) + end.killed_workers
    state = state_after(end, failures, kills)
    return replace(
        _after(entry, end.status, end.exit_code, end.sentence, at),
        state=state,
        failures=failures,
        kills=kills,
        deaths=0 if good or not same else entry.deaths,
        suspect=False,
        stops=entry.stops + 1 if stops else 0,
        wait_s=pause_s(entry.key, failures) if state is State.FAILED else 0.0,
        run_id=end.run_id or entry.run_id,
    )


def changed(entry: Entry, sentence: str, at: str) -> Entry:
    """The scene was replaced while it was read: whatever came of it is of neither version, and it is done again."""
    failures = entry.failures + 1
    return replace(
        _after(entry, "CHANGED", StorageError.exit_code, sentence, at),
        state=State.POISON if failures >= MOST_FAILURES else State.FAILED,
        failures=failures,
        wait_s=pause_s(entry.key, failures),
        hint="",
        version="",
    )


def busy(entry: Entry, sentence: str, at: str) -> Entry:
    """Somebody else is at work on the scene itself, as by hand: again after a pause, and nothing counts."""
    after = _after(entry, "BUSY", StorageError.exit_code, sentence, at)
    return replace(after, state=State.FAILED, hint=entry.hint, version=entry.version, wait_s=pause_s(entry.key, 1))


def died(entry: Entry, at: str) -> Entry:
    """The tick that had claimed it is no more, and said nothing."""
    claim = _claim_of(entry)
    deaths = (entry.deaths if claim.version == entry.version else 0) + claim.alone
    poison = deaths >= MOST_DEATHS
    said = "the tick that was at work on it died"
    if claim.alone:
        said += f", {deaths} times now while nothing else was in flight"
    return replace(
        _after(entry, "DIED", 1, said, at),
        state=State.POISON if poison else State.FAILED,
        deaths=deaths,
        suspect=True,
        wait_s=0.0,
    )


def given_back(entry: Entry) -> Entry:
    """The tick was told to stop: nothing was tried, nothing counts."""
    return replace(entry, state=_claim_of(entry).before, claim=None)


def looked_at(entry: Entry, hint: str) -> Entry:
    """Its description changed and its files did not."""
    return replace(entry, hint=hint)


def skipped(entry: Entry, reason: str) -> Entry:
    """It is not wanted, and nothing of it is published. What was found out about it before is no reason to leave it
    when it is wanted again."""
    return replace(entry, state=State.SKIPPED, sentence=reason, wait_s=0.0, hint="", version="")


def withdrawn(entry: Entry, reason: str) -> Entry:
    """What is published of it counts no more, or what went wrong with it; the files stay."""
    return replace(entry, state=State.WITHDRAWN, sentence=reason)


def cleared(entry: Entry) -> Entry:
    """A person wants it tried again: what went wrong before is history and no longer counted."""
    return replace(
        entry, state=State.NEW, failures=0, deaths=0, kills=0, stops=0, suspect=False, wait_s=0.0, hint="", version="",
        sentence="to be tried again",
    )  # fmt: skip


def _claim_of(entry: Entry) -> Claim:
    if entry.claim is None:
        raise ValueError(f"nobody has claimed {entry.key}")
    return entry.claim


def _after(entry: Entry, ending: str, exit_code: int, sentence: str, at: str) -> Entry:
    """The claim is over, and its go is history."""
    claim = _claim_of(entry)
    attempt = Attempt(at=at, ended=ending, exit_code=exit_code, sentence=sentence, version=claim.version)
    return replace(
        entry, claim=None, hint=claim.hint, version=claim.version, sentence=sentence, exit_code=exit_code,
        attempts=(*entry.attempts, attempt)[-MOST_ATTEMPTS:],
    )  # fmt: skip
