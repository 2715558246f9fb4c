"""Which results count no more, whoever writes it at the same time; and what the catalogue makes of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pystac
import pytest
from pystac.errors import DeprecatedWarning
from pystac.extensions.version import ItemVersionExtension

from pipeline.catalogue.collect import collect
from pipeline.catalogue.withdrawn import WITHDRAWN, Withdrawal, note_withdrawn, withdrawn
from pipeline.runs.context import SILENT
from tests.support.detected_results import publish
from tests.support.stac import complaints

GONE = Withdrawal(sentence="its feed shows it no more", since="2026-11-28T12:00:00+00:00", key="feed/files/a")


def known(out: Path | str) -> dict[str, Withdrawal]:
    said: list[str] = []
    found = withdrawn(str(out), said.append)
    assert said == []
    return found


def test_what_is_noted_is_there_until_it_is_taken_out(tmp_path: Path) -> None:
    out = str(tmp_path)
    assert note_withdrawn(out, {}, ("never there",)) == set()
    assert list(tmp_path.rglob("*.json")) == [], "nothing to say, no file"
    other = replace(GONE, sentence="superseded by feed/files/c", successor="c")
    assert note_withdrawn(out, {"a": GONE, "b": other}, ()) == {"a", "b"}
    assert known(out) == {"a": GONE, "b": other}
    later = replace(GONE, since="2027-01-01T00:00:00+00:00")
    assert note_withdrawn(out, {"a": later}, ()) == set(), "it is withdrawn since it was first"
    assert note_withdrawn(out, {"a": other}, ("b", "a")) == {"a", "b"}
    assert known(out) == {"a": other}


def test_of_several_who_note_at_once_nothing_is_lost(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(8)]
    note_withdrawn(str(tmp_path), dict.fromkeys(names[:4], GONE), ())
    with ThreadPoolExecutor(8) as pool:
        added = pool.map(lambda name: note_withdrawn(str(tmp_path), {name: GONE}, ()), names[4:])
        gone = pool.map(lambda name: note_withdrawn(str(tmp_path), {}, (name,)), names[:4])
        assert [*gone, *added] == [{name} for name in names]
    assert set(known(tmp_path)) == set(names[4:])


def test_a_bucket_keeps_it_too(bucket: str) -> None:
    assert note_withdrawn(bucket, {"a": GONE}, ()) == {"a"}
    assert note_withdrawn(bucket, {"b": GONE}, ("a",)) == {"a", "b"}
    assert known(bucket) == {"b": GONE}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 1}', '{"format": 1, "scenes": {"a": {"sentence": 1, "since": "", "key": ""}}}']
)
def test_a_list_that_is_none_is_said_and_made_anew(tmp_path: Path, content: str) -> None:
    place = tmp_path / "_catalogue" / WITHDRAWN
    place.parent.mkdir()
    place.write_text(content)
    said: list[str] = []
    assert withdrawn(str(tmp_path), said.append) == {}
    assert "is no list of withdrawn scenes" in said[0]
    assert note_withdrawn(str(tmp_path), {"a": GONE}, ()) == {"a"}
    assert known(tmp_path) == {"a": GONE}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results, collected."""
    folder = tmp_path_factory.mktemp("withdrawn")
    for name in ("old", "new"):
        publish(folder, str(folder / "out"), name)
    collect(str(folder / "out"), SILENT)
    return folder / "out"


def files(out: Path) -> dict[str, int]:
    paths = [path for path in (out / "_catalogue").rglob("*") if path.is_file()]
    return {path.relative_to(out / "_catalogue").as_posix(): path.stat().st_mtime_ns for path in paths}


def flags(out: Path) -> dict[str, bool]:
    rows: list[dict[str, Any]] = pq.read_table(out / "_catalogue" / "items.parquet").to_pylist()
    return {row["id"]: row["deprecated"] for row in rows}


def test_an_item_says_that_it_counts_no_more_and_which_one_does(out: Path) -> None:
    assert flags(out) == {"new": False, "old": False}
    before = files(out)
    plain = (out / "_catalogue" / "items" / "old.json").read_bytes()
    note_withdrawn(str(out), {"old": replace(GONE, successor="new")}, ())
    done = collect(str(out), SILENT, ("old",))
    assert (done.scenes, done.added, done.replaced, done.removed, done.rows) == (2, 0, 1, 0, 0)
    after = files(out)
    assert {name for name in before if after[name] != before[name]} == {
        "items/old.json", "items.parquet", "collection.json",
    }  # fmt: skip
    assert flags(out) == {"new": False, "old": True}
    with pytest.warns(DeprecatedWarning, match="'old' is deprecated"):
        item = pystac.Item.from_file(str(out / "_catalogue" / "items" / "old.json"))
    assert complaints(json.loads((out / "_catalogue" / "items" / "old.json").read_text())) == []
    extension = ItemVersionExtension.ext(item)
    assert extension.deprecated is True
    assert extension.successor is not None
    assert extension.successor.id == "new"
    assert item.properties["kestrel:withdrawn"] == GONE.sentence
    assert item.properties["kestrel:withdrawn_since"] == "2026-11-28T12:00:00Z"
    assert collect(str(out), SILENT).replaced == 0, "who collects by hand finds nothing to do"
    assert files(out) == after
    note_withdrawn(str(out), {}, ("old",))
    assert collect(str(out), SILENT).replaced == 1
    assert (out / "_catalogue" / "items" / "old.json").read_bytes() == plain
    assert flags(out) == {"new": False, "old": False}


def test_a_successor_that_is_not_in_the_collection_is_not_linked(out: Path) -> None:
    note_withdrawn(str(out), {"old": replace(GONE, successor="elsewhere")}, ())
    collect(str(out), SILENT)
    item = json.loads((out / "_catalogue" / "items" / "old.json").read_text())
    assert item["properties"]["deprecated"] is True
    assert "successor-version" not in {link["rel"] for link in item["links"]}
