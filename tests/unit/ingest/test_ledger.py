"""The ledger on a disk: one of two writers wins, one read knows all, and what is damaged holds up nobody else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.entry import Attempt, Damaged, Entry, State, from_json, name_of, to_json
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.scene_to_do import scene_key
from pipeline.ingest.status import as_text, status_of
from pipeline.ingest.transitions import claimed, ended
from pipeline.storage.conditional import list_objects
from tests.unit.ingest.test_transitions import AT, PUBLISHED, failing

KEYS = [f"feed/c/{number}" for number in range(5)]


@pytest.fixture
def said() -> list[str]:
    return []


def loaded(out: Path, said: list[str]) -> Ledger:
    ledger = Ledger(str(out), said.append)
    ledger.load()
    return ledger


def new(key: str) -> Entry:
    return Entry(key=key, scene_id=key.replace("/", "-"), seen=AT)


def taken(key: str, tick: str = "t") -> Entry:
    return claimed(new(key), tick=tick, hint="h", version="v", alone=False)


@settings(max_examples=25)
@given(
    st.builds(
        Entry, key=st.text(), scene_id=st.text(), state=st.sampled_from([one for one in State if one != "CLAIMED"]),
        sentence=st.text(), failures=st.integers(0), wait_s=st.floats(0, 1e9), run_id=st.none() | st.text(),
        attempts=st.tuples(st.builds(Attempt, at=st.just(AT))),
    )
)  # fmt: skip
def test_an_entry_is_what_its_file_says(entry: Entry) -> None:
    assert from_json(to_json(entry), name_of(entry.key)) == entry
    for cut in (0, 1, len(to_json(entry)) // 2):
        with pytest.raises(Damaged):
            from_json(to_json(entry)[:cut])


@pytest.mark.parametrize("name", ["a\udcff", "\ud800", "a\x00b"])
def test_a_name_that_is_no_text_has_its_place_in_the_table(tmp_path: Path, said: list[str], name: str) -> None:
    """Disks have names that are no UTF-8, and JSON can hold half a surrogate."""
    key = scene_key("feed", "files", name)
    ledger = loaded(tmp_path, said)
    ledger.note(new(key))
    assert ledger.write(replace(new(f"{key}.tif"), state=State.PUBLISHED), None) is not None
    ledger.compact()
    again = loaded(tmp_path, said)
    assert list(again.keys_with_result("feed")) == [f"{key}.tif"]
    assert again.counts() == {"NEW": 1, "PUBLISHED": 1}


def test_of_two_who_write_one_is_told(tmp_path: Path, said: list[str]) -> None:
    one, other = loaded(tmp_path, said), loaded(tmp_path, said)
    first = one.write(taken(KEYS[0], "one"), one.get(KEYS[0]))
    assert first is not None
    assert other.write(taken(KEYS[0], "other"), other.get(KEYS[0])) is None
    seen = other.get(KEYS[0])
    assert seen is not None
    assert seen.entry == first.entry, "who lost knows what lies there now"
    done = one.write(ended(first.entry, PUBLISHED, AT), first)
    assert done is not None
    assert other.write(ended(seen.entry, failing(5), AT), seen) is None


def test_one_read_knows_all_and_newer_files_win(tmp_path: Path, said: list[str]) -> None:
    ledger = loaded(tmp_path, said)
    for key in KEYS[:3]:
        assert ledger.write(taken(key), None) is not None
    ledger.note(new(KEYS[3]))
    ledger.compact()
    again = loaded(tmp_path, said)
    assert again.counts() == {"CLAIMED": 3, "NEW": 1}
    record = again.get(KEYS[0])
    assert record is not None
    assert again.write(ended(record.entry, PUBLISHED, AT), record) is not None, (
        "by what the table says, read again first"
    )
    assert loaded(tmp_path, said).counts() == {"CLAIMED": 2, "PUBLISHED": 1, "NEW": 1}, "and it was not compacted"
    again.compact()
    (tmp_path / "_ledger" / name_of(KEYS[1])).unlink()
    third = loaded(tmp_path, said)
    assert third.counts() == {"CLAIMED": 1, "PUBLISHED": 1, "NEW": 1}
    assert third.get(KEYS[1]) is None
    assert said == []


def test_tables_of_two_ticks_at_once_hold_what_both_know(tmp_path: Path, said: list[str]) -> None:
    one, other = loaded(tmp_path, said), loaded(tmp_path, said)
    one.write(taken(KEYS[0]), None)
    other.write(taken(KEYS[1]), None)
    one.note(new(KEYS[2]))
    other.note(new(KEYS[0]))  # it does not know that the first has claimed it
    one.compact()
    other.compact()
    for path in (tmp_path / "_ledger").glob("??/*.json"):
        os.utime(path)  # whoever reads the table and not the files must see the same
    assert loaded(tmp_path, said).counts() == {"CLAIMED": 2, "NEW": 1}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (to_json(taken(KEYS[1]))[:40], "is no JSON, or half of it"),
        (b"", "is no JSON, or half of it"),
        (b"[]", "is no entry of format 1"),
        (json.dumps({"ledger": 2}).encode(), "is no entry of format 1"),
        (
            json.dumps({"ledger": 1, "key": KEYS[1], "scene_id": "x", "state": "DONE"}).encode(),
            "holds something strange",
        ),
        (
            json.dumps({"ledger": 1, "key": KEYS[1], "scene_id": "x", "failures": "3"}).encode(),
            "holds something strange",
        ),
        (json.dumps({"ledger": 1, "key": KEYS[1], "scene_id": "x", "state": "CLAIMED"}).encode(), "claim disagree"),
        (to_json(new(KEYS[2])), "belongs to another scene"),
        (b"\xff\xfe\x00", "is no JSON, or half of it"),
    ],
)
def test_a_strange_file_holds_up_its_own_scene_only(tmp_path: Path, said: list[str], content: bytes, why: str) -> None:
    ledger = loaded(tmp_path, said)
    ledger.write(taken(KEYS[0]), None)
    place = tmp_path / "_ledger" / name_of(KEYS[1])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    again = loaded(tmp_path, said)
    sentence = again.why_damaged(KEYS[1])
    assert sentence is not None
    assert why in sentence
    assert "--retry invalid" in sentence
    assert "\n" not in sentence
    assert again.why_damaged(KEYS[0]) is None
    assert again.counts() == {"CLAIMED": 1}
    assert sentence in as_text(status_of(again))
    again.compact()
    assert again.remove_damaged() == 1
    assert again.write(taken(KEYS[1]), again.get(KEYS[1])) is not None


def test_a_strange_table_is_made_anew(tmp_path: Path, said: list[str]) -> None:
    ledger = loaded(tmp_path, said)
    ledger.write(taken(KEYS[0]), None)
    ledger.compact()
    table = tmp_path / "_ledger" / "ledger.parquet"
    table.write_bytes(table.read_bytes()[:50])
    again = loaded(tmp_path, said)
    assert again.counts() == {"CLAIMED": 1}
    again.compact()
    assert loaded(tmp_path, said).counts() == {"CLAIMED": 1}
    assert len([one for one in said if "half of one" in one]) == 2


def test_the_time_is_that_of_the_store(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick whose own clock is an hour off asks the store, and waits as long as the store says."""
    ledger = Ledger(str(tmp_path), said.append)
    ledger.mark("t")
    mark = tmp_path / "_ledger" / "ticks" / "t.json"
    hour_ago = mark.stat().st_mtime - 3600
    os.utime(mark, (hour_ago, hour_ago))  # a store whose clock is an hour behind ours
    ledger.load("t")
    assert abs(ledger.now().timestamp() - hour_ago) < 5
    record = ledger.write(ended(taken(KEYS[0]), failing(5), AT), None)
    assert record is not None
    assert ledger.now() - record.modified < timedelta(seconds=5)


def test_marks_and_leases_of_ticks_are_no_scenes(tmp_path: Path, said: list[str]) -> None:
    ledger = Ledger(str(tmp_path), said.append)
    ledger.mark("abc")
    ledger.load()
    assert ledger.marked == {"abc"}
    assert list(ledger.records()) == []
    ledger.unmark("abc")
    assert list(list_objects(ledger.ticks)) == []
