"""What the catalogue notes as withdrawn is what the ledger says, whoever changed it meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.catalogue.withdrawn import note_withdrawn, withdrawn
from pipeline.ingest.entry import State
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.prune import prune
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.transitions import claimed
from pipeline.ingest.withdrawing import tell_withdrawn
from pipeline.ingest.writing import write_down
from tests.unit.ingest.test_survey import done, scene, surveyed, view

OLD, NEWER, NEWEST = (view(f"feed/c/a-N0{number}", f"0{number}") for number in (301, 509, 511))


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path)


def loaded(out: str) -> Ledger:
    ledger = Ledger(out, print)
    ledger.load()
    return ledger


def listed(out: str, *listing: SceneToDo | Unusable) -> set[str]:
    """A tick that does nothing but list: scenes of which the catalogue said something else before."""
    ledger = loaded(out)
    write_down(surveyed(ledger, *listing), ledger, "feed")
    changed = tell_withdrawn(out, ledger, print)
    ledger.compact()
    return changed


def test_what_was_superseded_names_the_best_that_is_published(out: str) -> None:
    done(loaded(out), OLD)
    done(loaded(out), NEWER)
    assert listed(out, OLD, NEWER, NEWEST) == {OLD.scene_id}
    (one,) = withdrawn(out, print).values()
    assert (one.sentence, one.successor, one.key) == (f"superseded by {NEWER.key}", NEWER.scene_id, OLD.key)
    assert listed(out, OLD, NEWER, NEWEST) == set(), "read from the table it is the same"
    done(loaded(out), NEWEST)
    assert listed(out, OLD, NEWER, NEWEST) == {OLD.scene_id, NEWER.scene_id}
    assert {one.successor for one in withdrawn(out, print).values()} == {NEWEST.scene_id}


def test_what_another_tick_did_meanwhile_counts(out: str) -> None:
    one, other = scene("feed/c/a"), scene("feed/c/b")
    for each in (one, other):
        done(loaded(out), each)
    before = loaded(out)
    assert listed(out, other) == {one.scene_id}
    assert tell_withdrawn(out, before, print) == set(), "it was published when this tick began"
    withdrawn_then = loaded(out)
    done(loaded(out), one)
    assert tell_withdrawn(out, loaded(out), print) == {one.scene_id}
    assert tell_withdrawn(out, withdrawn_then, print) == set(), "it was withdrawn when this tick began"


def test_while_somebody_works_on_it_it_stays_withdrawn(out: str) -> None:
    one, other = scene("feed/c/a"), scene("feed/c/b")
    for each in (one, other):
        done(loaded(out), each)
    listed(out, other)
    ledger = loaded(out)
    record = ledger.get(one.key)
    assert record is not None
    ours = ledger.write(claimed(record.entry, tick="t", hint="h", version="v", alone=False), record)
    assert ours is not None
    assert tell_withdrawn(out, ledger, print) == set()
    assert ledger.write(record.entry, ours) is not None
    assert tell_withdrawn(out, ledger, print) == set()
    (gone,) = loaded(out).records(State.WITHDRAWN)
    ledger = loaded(out)
    assert prune(out, ledger, [gone], print) == [one.scene_id]
    assert tell_withdrawn(out, ledger, print) == {one.scene_id}
    assert withdrawn(out, print) == {}


def test_a_ledger_that_was_taken_away_says_nothing_of_it(out: str, tmp_path: Path) -> None:
    for each in (scene("feed/c/a"), scene("feed/c/b")):
        done(loaded(out), each)
    listed(out, scene("feed/c/b"))
    (tmp_path / "_ledger").rename(tmp_path / "elsewhere")
    assert tell_withdrawn(out, loaded(out), print) == set()
    assert note_withdrawn(out, {}, [*withdrawn(out, print)]) == {scene("feed/c/a").scene_id}
