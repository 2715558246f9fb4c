"""What a listing makes of a ledger: turns, groups of reprocessed scenes, and how far back to list next time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StorageError
from pipeline.ingest.decisions import Candidate, Decision, decide, in_turn
from pipeline.ingest.entry import Entry, State
from pipeline.ingest.feed_file import FeedConfig, feed_of
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.status import status_of
from pipeline.ingest.survey import Survey, about, new_entry, survey
from pipeline.ingest.transitions import claimed, ended
from pipeline.ingest.watermark import Watermark, digest, next_mark, read_watermark, since_when, write_watermark
from pipeline.ingest.writing import write_down
from tests.unit.ingest.test_transitions import AT, PUBLISHED, failing

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
OLD, NEWER = ("feed/c/a-N0301", "0301"), ("feed/c/a-N0509", "0509")


def scene(key: str, *, hint: str = "h", hours: float = 0, **fields: Any) -> SceneToDo:
    return SceneToDo(key=key, scene_id=key.replace("/", "-"), uri=f"s3://bucket/{key}.tif", hint=hint,
                     acquired=NOON - timedelta(hours=hours), **fields)  # fmt: skip


def view(key: str, rank: str) -> SceneToDo:
    """One of several processings of one view."""
    return scene(key, supersedes="a", rank=rank)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(str(tmp_path), lambda _: None)
    made.load()
    return made


def surveyed(ledger: Ledger, *listing: SceneToDo | Unusable, since: datetime | None = None) -> Survey:
    return survey("feed", listing, lambda _: None, ledger, since)


def done(ledger: Ledger, one: SceneToDo, end: Any = PUBLISHED) -> None:
    """As a tick would have it."""
    record = ledger.get(one.key)
    before = new_entry(one, AT) if record is None else about(record.entry, one)
    after = ended(claimed(before, tick="t", hint=one.hint, version="v", alone=False), end, AT)
    assert ledger.write(after, record) is not None


def keys(found: Survey) -> list[str]:
    return [one.scene.key for one in found.candidates]


def test_of_a_group_the_highest_rank_is_wanted(ledger: Ledger) -> None:
    found = surveyed(ledger, view(*OLD), view(*NEWER))
    assert keys(found) == [NEWER[0]]
    assert [(entry.key, entry.sentence) for entry in found.unwanted] == [(OLD[0], f"superseded by {NEWER[0]}")]


def test_a_result_counts_until_the_better_one_is_published(ledger: Ledger) -> None:
    done(ledger, view(*OLD))
    found = surveyed(ledger, view(*OLD), view(*NEWER))
    assert (keys(found), found.gone) == ([NEWER[0]], [])
    done(ledger, view(*NEWER), failing(3))
    assert surveyed(ledger, view(*OLD), view(*NEWER)).gone == [], "the better one cannot work"
    other = Ledger(ledger.folder.removesuffix("/_ledger"), lambda _: None)
    other.load()
    done(other, view(*NEWER))
    found = surveyed(other, view(*OLD), view(*NEWER))
    assert [(record.entry.key, why) for record, why in found.gone] == [(OLD[0], f"superseded by {NEWER[0]}")]
    write_down(found, other, "feed")
    assert [one.entry.key for one in other.records(State.WITHDRAWN)] == [OLD[0]]
    again = surveyed(other, view(*OLD), view(*NEWER))
    assert (keys(again), again.gone, again.unwanted) == ([], [], [])


def test_what_was_superseded_is_done_where_the_better_one_cannot_work(ledger: Ledger) -> None:
    write_down(surveyed(ledger, view(*OLD), view(*NEWER)), ledger, "feed")
    assert {str(one.entry.state) for one in ledger.records()} == {"SKIPPED", "NEW"}
    done(ledger, view(*NEWER), failing(3))
    assert keys(surveyed(ledger, view(*OLD), view(*NEWER))) == [OLD[0]]


def test_a_listing_that_breaks_off_withdraws_nothing(ledger: Ledger) -> None:
    for key in ("feed/c/a", "feed/c/b"):
        done(ledger, scene(key))

    def breaking() -> Iterable[SceneToDo]:
        yield scene("feed/c/new")
        raise StorageError("cannot list s3://bucket: access is denied")

    found = survey("feed", breaking(), lambda _: None, ledger)
    assert (keys(found), found.gone) == (["feed/c/new"], [])
    assert isinstance(found.error, StorageError)
    assert surveyed(ledger, scene("feed/c/a"), since=NOON).gone == [], "it was asked for changes alone"
    assert len(surveyed(ledger, scene("feed/c/a")).gone) == 1
    assert surveyed(ledger, scene("feed/c/a"), Unusable(key="feed/c/b", reason="half of it")).gone == []


@pytest.mark.parametrize("end", [failing(3), failing(5), failing(7)])
def test_what_went_wrong_and_is_gone_is_no_failure_any_longer(ledger: Ledger, end: Any) -> None:
    """A damaged file that somebody has taken away must not ring for ever."""
    done(ledger, scene("feed/c/bad"), end)
    done(ledger, scene("feed/c/good"))
    assert surveyed(ledger, scene("feed/c/bad"), scene("feed/c/good")).gone == []
    found = surveyed(ledger, scene("feed/c/good"))
    write_down(found, ledger, "feed")
    assert status_of(ledger).oldest_failure is None
    assert status_of(ledger).counts["WITHDRAWN"] == 1
    assert keys(surveyed(ledger, scene("feed/c/bad"), scene("feed/c/good"))) == ["feed/c/bad"], "it has come back"


def test_what_failed_before_it_was_filtered_out_is_done_when_it_is_wanted_again(ledger: Ledger) -> None:
    one = scene("feed/c/a")
    done(ledger, one, failing(5))
    write_down(survey("feed", [one], lambda _: "clouds cover it", ledger), ledger, "feed")
    record = ledger.get(one.key)
    assert record is not None
    assert (record.entry.state, record.entry.sentence) == (State.SKIPPED, "clouds cover it")
    assert keys(surveyed(ledger, one)) == ["feed/c/a"]


def test_what_is_unusable_stands_in_the_ledger_until_it_is_not(ledger: Ledger) -> None:
    write_down(
        surveyed(ledger, Unusable(key="feed/c/a", reason="its href is empty"), scene("feed/c/b")), ledger, "feed"
    )
    record = ledger.get("feed/c/a")
    assert record is not None
    assert (record.entry.state, record.entry.sentence) == (State.INVALID, "its href is empty")
    ledger.compact()
    assert set(keys(surveyed(ledger, scene("feed/c/a"), scene("feed/c/b")))) == {"feed/c/a", "feed/c/b"}


@pytest.mark.parametrize(("after_s", "what"), [(0, "leave"), (59, "leave"), (76, "detect"), (-3600, "detect")])
def test_a_failed_scene_waits_by_the_clock_of_the_store(ledger: Ledger, after_s: float, what: str) -> None:
    """A clock that was put back by an hour has it tried too early, and not an hour too late."""
    done(ledger, scene("feed/c/a"), failing(5))
    record = ledger.get("feed/c/a")
    assert record is not None
    now = record.modified + timedelta(seconds=after_s)
    assert decide(scene("feed/c/a"), record, now).what == what
    assert decide(scene("feed/c/a", hint="another"), record, now).what == "detect", "another version need not wait"


def test_turns_are_newest_first_with_a_share_for_the_oldest() -> None:
    every = [
        Candidate(scene=scene(f"feed/c/{hours}", hours=hours), record=None, decision=Decision(what="detect", why="new"))
        for hours in range(10)
    ]
    turns = [one.scene.key.rsplit("/", 1)[-1] for one in in_turn(every, 0.2)]
    assert turns == ["0", "1", "2", "3", "9", "4", "5", "6", "7", "8"]
    assert [one.scene.key for one in in_turn(every, 0.0)] == [one.scene.key for one in every]
    assert [one.scene.key for one in in_turn(every, 1.0)] == [one.scene.key for one in reversed(every)]


API = feed_of({"name": "feed", "source": {"kind": "stac-api", "address": "https://example.com"}})


def entry(name: str, state: State, hours: float | None) -> Entry:
    updated = None if hours is None else (NOON - timedelta(hours=hours)).isoformat()
    return Entry(key=f"feed/c/{name}", scene_id=name, state=state, updated=updated)


def test_an_api_is_asked_from_the_oldest_that_is_not_finished_with(ledger: Ledger) -> None:
    found = surveyed(ledger, *(scene(f"feed/c/{hours}", updated=NOON - timedelta(hours=hours)) for hours in (9, 1, 5)))
    mark = next_mark(API, found, None, [], NOON)
    assert (mark.since, mark.full) == (NOON - timedelta(hours=1), NOON)
    assert since_when(API, mark, NOON) == mark.since
    later = NOON + timedelta(days=1)
    nothing_new = Survey(since=mark.since)
    assert next_mark(API, nothing_new, mark, [], later) == mark
    held = next_mark(API, nothing_new, mark, [entry("c", State.FAILED, 30), entry("d", State.NEW, 2)], later)
    assert (held.since, held.full) == (NOON - timedelta(hours=30), NOON)
    assert next_mark(API, found, mark, [entry("d", State.NEW, None)], NOON).since is None
    write_watermark(ledger, API, held)
    assert read_watermark(ledger, API) == held


@pytest.mark.parametrize("state", ["PUBLISHED", "INVALID", "SKIPPED", "WITHDRAWN", "NEW"])
def test_what_a_tick_does_not_come_to_is_shown_to_the_next_one(ledger: Ledger, state: str) -> None:
    """Whatever it was before: all of a feed is listed once a week, and a filter that lets more in fills many ticks."""
    old = NOON - timedelta(days=30)
    one = scene("feed/c/old", updated=old)
    if state == "SKIPPED":
        write_down(survey("feed", [one], lambda _: "clouds cover it", ledger), ledger, "feed")
    elif state != "NEW":
        done(ledger, replace(one, hint="before"), failing(3) if state == "INVALID" else PUBLISHED)
    if state == "WITHDRAWN":
        write_down(surveyed(ledger, scene("feed/c/new", updated=NOON)), ledger, "feed")
    found = surveyed(ledger, one, scene("feed/c/new", updated=NOON))
    assert next_mark(API, found, None, found.not_reached(ledger), NOON).since == old
    done(ledger, one)
    done(ledger, scene("feed/c/new", updated=NOON))
    assert next_mark(API, found, None, found.not_reached(ledger), NOON).since == NOON


@pytest.mark.parametrize("days", [-1, 7, 30])
def test_once_a_week_and_when_the_clock_makes_no_sense_all_is_listed(days: float) -> None:
    mark = Watermark(since=NOON, full=NOON, about=digest(API))
    assert since_when(API, mark, NOON + timedelta(days=1)) == NOON
    assert since_when(API, mark, NOON + timedelta(days=days)) is None


def test_another_filter_has_all_listed_and_so_have_folders() -> None:
    mark = Watermark(since=NOON, full=NOON, about=digest(API))
    other: FeedConfig = feed_of({"name": "feed", "source": {"kind": "stac-api", "address": "https://example.com"},
                                 "filter": {"cloud_cover": 50}})  # fmt: skip
    folder = feed_of({"name": "feed", "source": {"kind": "folder", "address": "s3://bucket"}})
    assert since_when(other, mark, NOON) is None
    assert since_when(folder, mark, NOON) is None


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"since": "yesterday", "full": null, "about": "x"}',
                                     b'{"since": "2026-01-01", "full": null, "about": "x"}'])  # fmt: skip
def test_a_strange_watermark_is_none(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "_ledger" / "feeds" / "feed.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    assert read_watermark(ledger, API) is None
