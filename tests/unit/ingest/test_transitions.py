"""Whatever two ticks do in whatever order: no version of a scene is published twice, and no scene is lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.ingest.entry import HAS_RESULT, Entry, State, from_json, to_json
from pipeline.ingest.retries import MOST_DEATHS, MOST_FAILURES, End, pause_s
from pipeline.ingest.transitions import changed, claimed, cleared, died, ended, given_back, withdrawn

PUBLISHED = End(status="PUBLISHED", exit_code=0, sentence="9 detections", run_id="r")
AT = "2026-11-28T00:00:00+00:00"


def gone_at(entry: Entry, *ends: End | None, version: str = "v1", alone: bool = False) -> Entry:
    """The entry after so many goes; None is the death of the tick."""
    for end in ends:
        entry = claimed(entry, tick="t", hint="h", version=version, alone=alone)
        entry = died(entry, AT) if end is None else ended(entry, end, AT)
    return entry


NEW = Entry(key="feed/c/a", scene_id="a-1")


def failing(code: int, *, killed: bool = False) -> End:
    status = "FAILED" if code == 7 else "INVALID"
    return End(status=status, exit_code=code, sentence="no", killed_workers=killed)


@pytest.mark.parametrize(
    ("ends", "state", "failures"),
    [
        ([failing(3)], State.INVALID, 1),
        ([failing(5)], State.FAILED, 1),
        ([failing(5)] * (MOST_FAILURES - 1), State.FAILED, 4),
        ([failing(5)] * MOST_FAILURES, State.POISON, 5),
        ([failing(7)], State.FAILED, 1),
        ([failing(7, killed=True)], State.FAILED, 1),
        ([failing(7, killed=True)] * 2, State.POISON, 2),
        ([failing(2)] * 9, State.FAILED, 0),
        ([failing(4)] * 9, State.FAILED, 0),
        ([failing(6)] * 9, State.FAILED, 0),
        ([failing(5)] * 4 + [PUBLISHED], State.PUBLISHED, 0),
        ([End(status="SKIPPED", exit_code=0, sentence="outside")], State.SKIPPED, 0),
        ([End(status="PARTIAL", exit_code=0, sentence="holes")], State.PARTIAL, 0),
    ],
)
def test_what_an_exit_code_makes_of_a_scene(ends: list[End], state: State, failures: int) -> None:
    after = gone_at(NEW, *ends)
    assert (after.state, after.failures, after.claim) == (state, failures, None)
    assert [one.exit_code for one in after.attempts] == [one.exit_code for one in ends]


def test_pauses_grow_and_are_spread() -> None:
    pauses = [pause_s("a", failures) for failures in range(5)]
    assert pauses[0] == 0
    assert all(low <= pause <= 1.25 * low for low, pause in zip((60, 240, 960, 3840), pauses[1:], strict=True))
    assert pause_s("a", 1) != pause_s("b", 1)
    assert gone_at(NEW, failing(5)).wait_s == pause_s(NEW.key, 1)
    assert gone_at(NEW, failing(2)).wait_s == 0, "not its fault"


def test_bystanders_of_a_death_are_done_alone_and_are_no_poison() -> None:
    together = gone_at(NEW, *[None] * 5)
    assert (together.state, together.suspect, together.deaths, together.wait_s) == (State.FAILED, True, 0, 0.0)
    once = gone_at(together, None, alone=True)
    assert (once.state, once.deaths) == (State.FAILED, 1)
    twice = gone_at(once, None, alone=True)
    assert (twice.state, twice.deaths) == (State.POISON, MOST_DEATHS)
    innocent = gone_at(together, PUBLISHED, alone=True)
    assert (innocent.state, innocent.suspect, innocent.deaths) == (State.PUBLISHED, False, 0)


def test_another_version_starts_from_nought_and_a_person_may_have_it_so() -> None:
    poisoned = gone_at(NEW, *[failing(5)] * MOST_FAILURES)
    assert gone_at(poisoned, failing(5), version="v2").failures == 1
    assert gone_at(cleared(poisoned), failing(5)).failures == 1
    dead = gone_at(NEW, None, None, alone=True)
    assert gone_at(dead, None, version="v2", alone=True).deaths == 1


def test_what_is_given_back_is_as_it_was() -> None:
    before = gone_at(NEW, PUBLISHED)
    again = given_back(claimed(before, tick="t", hint="h2", version="v2", alone=False))
    assert again == Entry(**{**_fields(before), "sentence": ""})


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__slots__}


def test_a_scene_that_never_stands_still_is_given_up() -> None:
    entry = NEW
    for number in range(MOST_FAILURES):
        entry = changed(claimed(entry, tick="t", hint="h", version=f"v{number}", alone=False), "replaced", AT)
    assert (entry.state, entry.version) == (State.POISON, "")


ENDS = [*[PUBLISHED] * 6, failing(3), failing(5), failing(7), failing(2), None]
"""How a go ends; None: given back. Most are published, or two that both are would be too rare to be drawn."""


class TwoTicks(RuleBasedStateMachine):
    """One scene, a store that takes a write if the entry is unchanged, and ticks that work, stall, die and come back.

    A tick sees the store as it was when it looked. Detection publishes under a lease of its own, of one version once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stored = NEW
        self.version = 1
        self.seen: dict[str, Entry] = {"a": NEW, "b": NEW}
        self.lives = {"a": True, "b": True}
        self.held: dict[str, Entry | None] = {"a": None, "b": None}
        self.turn = 0
        """Goes up when a person or the feed has a version done again."""
        self.turns = {"a": 0, "b": 0}
        self.said: Counter[tuple[str, int]] = Counter()

    ticks = st.sampled_from(["a", "b"])

    def write(self, before: Entry, after: Entry) -> bool:
        if self.stored != before:
            return False
        self.stored = from_json(to_json(after))
        return True

    @rule(tick=ticks)
    def look(self, tick: str) -> None:
        """A tick, or the next one in its place, loads the ledger."""
        self.seen[tick] = self.stored
        self.lives[tick] = self.lives[tick] or self.held[tick] is None

    @precondition(lambda self: self.version < 4)
    @rule()
    def replaced_at_its_source(self) -> None:
        self.version += 1

    @rule(tick=ticks)
    def claim(self, tick: str) -> None:
        before = self.seen[tick]
        due = before.state in (State.NEW, State.FAILED, State.WITHDRAWN) or before.version != f"v{self.version}"
        if not self.lives[tick] or self.held[tick] or before.state is State.CLAIMED or not due:
            return
        after = claimed(before, tick=tick, hint="h", version=f"v{self.version}", alone=before.suspect)
        if self.write(before, after):
            self.held[tick], self.turns[tick] = after, self.turn

    @rule(tick=ticks, end=st.sampled_from(ENDS))
    def end(self, tick: str, end: End | None) -> None:
        before, self.held[tick] = self.held[tick], None
        if before is None or before.claim is None:
            return
        if end is None:
            after = given_back(before)
        elif end is PUBLISHED and f"v{self.version}" != before.claim.version:
            after = changed(before, "replaced", AT)
        else:
            after = ended(before, end, AT)
        if self.write(before, after) and end is not None and after.state in HAS_RESULT:
            self.said[after.version, self.turns[tick]] += 1

    @rule(tick=ticks)
    def die(self, tick: str) -> None:
        """Killed, or only stalled for longer than its lease: then it goes on and believes it holds the scene."""
        self.lives[tick] = False

    @rule(tick=ticks)
    def recover(self, tick: str) -> None:
        before = self.seen[tick]
        if before.claim is not None and before.claim.tick != tick and not self.lives[before.claim.tick]:
            self.write(before, died(before, AT))
            self.lives[before.claim.tick] = True

    @precondition(lambda self: self.stored.state in HAS_RESULT)
    @rule()
    def withdraw(self) -> None:
        self.stored = withdrawn(self.stored, "gone")
        self.turn += 1

    @precondition(lambda self: self.stored.state in (State.POISON, State.INVALID))
    @rule()
    def retry(self) -> None:
        self.stored = cleared(self.stored)
        self.turn += 1

    @invariant()
    def no_version_is_published_twice(self) -> None:
        assert all(count == 1 for count in self.said.values()), self.said

    @invariant()
    def it_is_never_lost(self) -> None:
        """From wherever it stands somebody can go on, but for what only a person or a new version moves."""
        entry = self.stored
        if entry.claim is not None:
            entry = died(entry, AT)
        if entry.state in (State.POISON, State.INVALID):
            assert entry.sentence
            assert entry.attempts
            entry = cleared(entry)
        after = ended(claimed(entry, tick="c", hint="h", version="v", alone=True), PUBLISHED, AT)
        assert after.state is State.PUBLISHED


TestTwoTicks = TwoTicks.TestCase
TestTwoTicks.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
