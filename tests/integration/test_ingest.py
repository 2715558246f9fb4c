"""Ticks over folders in which scenes arrive, change, break and vanish; real scenes, a real ledger, real results."""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pystac
import pytest

from jobs.ingest_scenes import main
from pipeline.engine.local import LocalExecutor
from pipeline.errors import ModelError
from pipeline.ingest.entry import State, name_of
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.prune import Pruning, prunable, prune
from pipeline.ingest.retries import MOST_DEATHS, PAUSES_S
from pipeline.ingest.scene_to_do import scene_id_of_key
from pipeline.ingest.verbs import tell_catalogue
from pipeline.reporting.journal import Journal
from pipeline.runs.run import SceneTask
from pipeline.storage.lease import Lease
from pipeline.types import Window
from tests.support import ticks
from tests.support.faults import Refuses
from tests.support.servers import fill_bucket, s3_client, s3_process
from tests.support.stac import complaints
from tests.support.ticks import KEYS, entries, oracle, started, states, tick, write_feed, write_scene


@pytest.fixture
def arriving(tmp_path: Path) -> Path:
    """The folder that scenes arrive in; results go to ``tmp_path / "out"``."""
    folder = tmp_path / "arriving"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def feed(tmp_path: Path, arriving: Path) -> Path:
    return write_feed(tmp_path, arriving)


def scene_at(folder: Path, name: str, seed: int = 0, *, age_s: float = 0.0) -> Path:
    path = write_scene(folder / f"{name}.tif", seed)
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def test_what_is_new_is_detected_once_newest_first(feed: Path, arriving: Path, out: Path) -> None:
    for age, name in enumerate("abc"):
        scene_at(arriving, name, age, age_s=100.0 * age)
    first = tick(feed, out)
    assert [name[0] for name in first.begun] == ["a", "b", "c"]
    assert first.report.ended == {"PUBLISHED": 3}
    assert first.collected == [frozenset(first.begun)]
    assert all((out / scene_id / "manifest.json").is_file() for scene_id in first.begun)
    second = tick(feed, out)
    assert (second.begun, second.collected, second.report.ended) == ([], [], {})
    scene_at(arriving, "d", 9)
    third = tick(feed, out)
    assert ([name[0] for name in third.begun], states(out)) == (["d"], dict.fromkeys("abcd", "PUBLISHED"))
    assert {len(entry.attempts) for entry in entries(out).values()} == {1}


def test_a_new_version_is_detected_and_a_touched_description_is_not(feed: Path, arriving: Path, out: Path) -> None:
    path = scene_at(arriving, "a", 1)
    tick(feed, out)
    before = entries(out)["a"]
    name = name_of(before.key)
    ledger = Ledger(str(out), lambda _: None)
    ledger.load()
    record = ledger.get(before.key)
    assert record is not None
    path.write_bytes(path.read_bytes())  # another time of change is another version; the content is the same
    assert len(tick(feed, out).begun) == 1
    assert entries(out)["a"].version != before.version
    place = out / "_ledger" / name
    told = json.loads(place.read_text())
    place.write_text(json.dumps({**told, "hint": "as the feed described it before"}))
    assert tick(feed, out).begun == []
    assert json.loads(place.read_text())["hint"] == told["hint"]


def test_a_scene_that_cannot_work_waits_for_another_version(feed: Path, arriving: Path, out: Path) -> None:
    scene_at(arriving, "good")
    (arriving / "bad.tif").write_bytes(b"II*\0 and no more")
    went = tick(feed, out)
    assert states(out) == {"bad": "INVALID", "good": "PUBLISHED"}
    assert went.report.error is None, "it is no failure of the tick"
    assert entries(out)["bad"].sentence
    assert tick(feed, out).begun == []
    assert len(tick(feed, out, retry="invalid").begun) == 1
    scene_at(arriving, "bad", 5)
    tick(feed, out)
    assert states(out)["bad"] == "PUBLISHED"


def test_what_no_configuration_fits_ends_the_tick_and_holds_up_no_other(
    tmp_path: Path, arriving: Path, out: Path
) -> None:
    feed = write_feed(tmp_path, arriving, run={"raster.bands": [1, 2, 4]})
    write_scene(arriving / "old.tif", 1, bands=4)
    then = time.time() - 500
    os.utime(arriving / "old.tif", (then, then))
    write_scene(arriving / "new.tif", 2, bands=3)
    first = tick(feed, out, in_flight=1)
    assert (len(first.begun), states(out)) == (1, {"new": "FAILED", "old": "NEW"})
    assert first.report.error is not None
    assert first.report.error.exit_code == 2
    second = tick(feed, out)
    assert states(out) == {"new": "FAILED", "old": "PUBLISHED"}
    assert second.report.error is not None
    assert entries(out)["new"].failures == 0, "it is not its fault, however often"


def test_a_tick_does_so_much_and_looks_after_the_oldest_too(feed: Path, arriving: Path, out: Path) -> None:
    for age, name in enumerate("abcdefgh"):
        scene_at(arriving, name, age, age_s=100.0 * age)
    went = tick(feed, out, max_scenes=4, backfill_share=0.5)
    assert [name[0] for name in went.begun] == ["a", "h", "b", "g"]
    assert went.report.not_reached == 4
    assert states(out)["c"] == "NEW"
    assert tick(feed, out, max_minutes=0.0).begun == []


def test_what_the_feed_shows_no_more_is_withdrawn_and_goes_only_when_asked(
    feed: Path, arriving: Path, out: Path
) -> None:
    kept, path = scene_at(arriving, "kept"), scene_at(arriving, "gone", 1)
    tick(feed, out)
    content = path.read_bytes()
    path.unlink()
    went = tick(feed, out)
    scene_id = entries(out)["gone"].scene_id
    assert states(out) == {"gone": "WITHDRAWN", "kept": "PUBLISHED"}
    assert went.collected == [frozenset({scene_id})], "the catalogue hears of it"
    assert (out / scene_id / "manifest.json").is_file()
    kept_bytes = kept.read_bytes()
    kept.unlink()
    assert tick(feed, out).collected == []
    assert states(out)["kept"] == "PUBLISHED", "a feed that shows nothing at all is rather a wrong address"
    kept.write_bytes(kept_bytes)
    ledger = Ledger(str(out), lambda _: None)
    ledger.load()
    assert list(prunable(ledger, Pruning(older_than_days=1))) == []
    (record,) = prunable(ledger, Pruning())
    assert prune(str(out), ledger, [record], print) == [scene_id]
    assert not (out / scene_id).exists()
    assert list(prunable(ledger, Pruning())) == []
    path.write_bytes(content)
    tick(feed, out)
    assert states(out) == {"gone": "PUBLISHED", "kept": "PUBLISHED"}
    assert (out / scene_id / "manifest.json").is_file()


def test_the_catalogue_hears_of_a_failure_in_the_place_of_a_result(feed: Path, arriving: Path, out: Path) -> None:
    """The files that its items name are gone."""
    scene_at(arriving, "a")
    scene_id = tick(feed, out).begun[0]
    scene_at(arriving, "a", 1, age_s=-10.0)
    went = tick(feed, out, detector=lambda: Refuses(oracle(), window=Window(x=0, y=0, width=64, height=64)))
    assert (states(out), sorted(path.name for path in (out / scene_id).glob("*.json"))) == (
        {"a": "FAILED"},
        ["run.json"],
    )
    assert went.collected == [frozenset({scene_id})]


def test_a_tick_that_others_take_for_dead_begins_nothing_more(feed: Path, arriving: Path, out: Path) -> None:
    for age, name in enumerate("abc"):
        scene_at(arriving, name, age, age_s=100.0 * age)

    def taken(task: SceneTask) -> None:
        (lease,) = (out / "_ledger" / "ticks").glob(".*.lease")
        lease.unlink()
        time.sleep(0.5)

    went = tick(feed, out, began=taken, in_flight=1, lease_s=0.3)
    assert (len(went.begun), went.report.not_reached) == (1, 2)
    assert any("take this one for dead" in line for line in went.said)
    assert states(out) == {"a": "PUBLISHED", "b": "NEW", "c": "NEW"}


@pytest.mark.filterwarnings("ignore::pystac.errors.DeprecatedWarning")
def test_the_catalogue_says_which_results_count_no_more(feed: Path, arriving: Path, out: Path) -> None:
    told = partial(tell_catalogue, str(out), Journal(print))
    for name in ("kept", "gone"):
        scene_at(arriving, name, len(name))
    tick(feed, out, collect=told)
    ids = {name: entry.scene_id for name, entry in entries(out).items()}
    assert deprecated(out) == dict.fromkeys(ids.values(), False)
    content = (arriving / "gone.tif").read_bytes()
    (arriving / "gone.tif").unlink()
    assert tick(feed, out, collect=told).collected == [frozenset({ids["gone"]})]
    assert deprecated(out) == {ids["gone"]: True, ids["kept"]: False}
    item = json.loads((out / "_catalogue" / "items" / f"{ids['gone']}.json").read_text())
    assert complaints(item) == []
    assert item["properties"]["kestrel:withdrawn"] == "its feed shows it no more"
    told(None)
    assert tick(feed, out, collect=told).collected == [], "it is said once"
    assert deprecated(out)[ids["gone"]]
    (arriving / "gone.tif").write_bytes(content)
    tick(feed, out, collect=told)
    assert deprecated(out) == dict.fromkeys(ids.values(), False)
    (arriving / "gone.tif").unlink()
    tick(feed, out, collect=told)
    flags = ["--out", str(out), "--prune"]
    assert main(flags) == 0
    assert deprecated(out) == {ids["kept"]: False}
    assert ids["gone"] not in (out / "_catalogue" / "withdrawn.json").read_text()


def deprecated(out: Path) -> dict[str, bool]:
    """Scene → whether its item says so; the table of all items says the same."""
    collection = pystac.Collection.from_file(str(out / "_catalogue" / "collection.json"))
    told = {one.id: bool(one.properties.get("deprecated")) for one in collection.get_items()}
    rows = pq.read_table(out / "_catalogue" / "items.parquet", columns=["id", "deprecated"]).to_pylist()
    assert told == {row["id"]: row["deprecated"] for row in rows}
    return told


def test_a_tick_that_died_before_it_told_the_catalogue_is_made_up_for(
    feed: Path, arriving: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = partial(tell_catalogue, str(out), Journal(print))
    for name in ("kept", "gone"):
        scene_at(arriving, name, len(name))
    tick(feed, out, collect=told)
    (arriving / "gone.tif").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(ticks, "tell_withdrawn", killed)
        with pytest.raises(KeyboardInterrupt):
            tick(feed, out, collect=told)
    assert states(out) == {"gone": "WITHDRAWN", "kept": "PUBLISHED"}
    assert not any(deprecated(out).values())
    with warnings.catch_warnings(action="ignore"):
        tick(feed, out, collect=told)
        assert deprecated(out)[entries(out)["gone"].scene_id]


def killed(*_: object) -> set[str]:
    raise KeyboardInterrupt


def test_two_feeds_that_show_the_same_scene_detect_it_once(tmp_path: Path, arriving: Path, out: Path) -> None:
    scene_at(arriving, "a")
    assert len(tick(write_feed(tmp_path, arriving, "one"), out).begun) == 1
    other = write_feed(tmp_path, arriving, "other")
    assert tick(other, out).begun == []
    ledger = Ledger(str(out), lambda _: None)
    ledger.load()
    (skipped,) = (one.entry for one in ledger.records(State.SKIPPED))
    assert "done already, as one/" in skipped.sentence


def test_a_scene_that_is_replaced_while_it_is_read_is_read_again(feed: Path, arriving: Path, out: Path) -> None:
    path = scene_at(arriving, "a", 1)

    def replaced(task: SceneTask) -> None:
        write_scene(path, 2)
        os.utime(path, (1e9, 1e9))

    tick(feed, out, began=replaced)
    entry = entries(out)["a"]
    assert (entry.state, entry.attempts[-1].ended) == ("FAILED", "CHANGED")
    tick(feed, out)
    assert states(out) == {"a": "FAILED"}, "after a pause, not at once"
    tick(feed, out, retry="failed")
    assert states(out) == {"a": "PUBLISHED"}


def test_a_scene_that_becomes_unusable_keeps_its_result_and_is_said(feed: Path, arriving: Path, out: Path) -> None:
    """Its entry is that of a result, so that nothing else tells why it is not detected again."""
    path = scene_at(arriving, "a")
    tick(feed, out)
    (arriving / "a.jp2").write_bytes(path.read_bytes())
    assert any("'a' is named twice" in sentence for sentence in tick(feed, out).said)
    assert states(out) == {"a": "PUBLISHED"}


def test_a_damaged_ledger_file_holds_up_its_own_scene(feed: Path, arriving: Path, out: Path) -> None:
    for name in "ab":
        scene_at(arriving, name)
    tick(feed, out)
    place = out / "_ledger" / name_of(entries(out)["a"].key)
    place.write_bytes(place.read_bytes()[:30])
    scene_at(arriving, "c")
    assert len(tick(feed, out).begun) == 1
    assert states(out) == {"b": "PUBLISHED", "c": "PUBLISHED"}
    assert len(tick(feed, out, retry="invalid").begun) == 1
    assert states(out) == dict.fromkeys("abc", "PUBLISHED")


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_eight_scenes_two_ticks_at_once_and_one_of_them_killed(
    feed: Path, arriving: Path, out: Path, tmp_path: Path
) -> None:
    for number in range(8):
        scene_at(arriving, f"s{number}", number, age_s=10.0 * number)
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    with started(one, feed, out, "--slow-s", 0.5, "--in-flight", 2) as doomed:
        until = time.monotonic() + 60
        while len(lines(one)) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        with started(two, feed, out, "--slow-s", 0.1) as other:
            time.sleep(0.3)
            doomed.kill()
            other.join(timeout=120)
            assert other.exitcode == 0, lines(two)
    assert tick(feed, out, lease_s=2.0).report.error is None
    assert states(out) == {f"s{number}": "PUBLISHED" for number in range(8)}
    assert any(entry.attempts[0].ended == "DIED" for entry in entries(out).values())
    for entry in entries(out).values():
        assert [one.ended for one in entry.attempts].count("PUBLISHED") == 1
        assert (out / entry.scene_id / "manifest.json").is_file()
    assert list((out / "_ledger" / "ticks").glob("*.json")) == [], "nothing of the dead is left"


def test_a_scene_that_kills_ticks_is_named_and_its_neighbours_are_not(
    feed: Path, arriving: Path, out: Path, tmp_path: Path
) -> None:
    for number in range(3):
        scene_at(arriving, f"s{number}", number, age_s=10.0 * number)
    scene_at(arriving, "killer", 9, age_s=5.0)
    deaths = 0
    for _ in range(MOST_DEATHS + 2):
        with started(tmp_path / "log", feed, out, "--in-flight", 2, "--dies-with", "killer") as process:
            process.join(timeout=60)
            deaths += process.exitcode == -signal.SIGKILL
    assert states(out) == {"killer": "POISON", "s0": "PUBLISHED", "s1": "PUBLISHED", "s2": "PUBLISHED"}
    assert deaths == MOST_DEATHS + 1, "once while others could be in flight, then alone"
    assert "2 times now while nothing else was in flight" in entries(out)["killer"].sentence
    assert tick(feed, out).begun == []
    assert len(tick(feed, out, retry="poison").begun) == 1
    assert states(out)["killer"] == "PUBLISHED"


def test_a_tick_that_is_stopped_gives_its_scenes_back(feed: Path, arriving: Path, out: Path) -> None:
    for name in "ab":
        scene_at(arriving, name)

    def stopped(task: SceneTask) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tick(feed, out, began=stopped)
    assert {entry.state for entry in entries(out).values()} <= {State.NEW}
    assert all(entry.attempts == () for entry in entries(out).values())
    assert tick(feed, out).report.ended == {"PUBLISHED": 2}


@pytest.mark.parametrize(
    ("error", "ended"), [(ModelError("NaN out of the network"), "INVALID"), (ValueError("a defect"), "DIED")]
)
def test_what_ends_a_tick_holds_up_no_other_scene(
    feed: Path, arriving: Path, out: Path, error: Exception, ended: str
) -> None:
    for age, name in enumerate("abc"):
        scene_at(arriving, name, age, age_s=100.0 * age)

    def ends(task: SceneTask) -> None:
        if "a.tif" in task.uri:
            raise error

    if isinstance(error, ModelError):
        assert tick(feed, out, began=ends, in_flight=1).report.error is error
    else:
        with pytest.raises(ValueError, match="a defect"):
            tick(feed, out, began=ends, in_flight=1)
    assert [one.ended for one in entries(out)["a"].attempts] == [ended]
    assert [name[0] for name in tick(feed, out).begun] == ["b", "c", "a"]
    assert states(out) == dict.fromkeys("abc", "PUBLISHED")


def test_a_scene_that_somebody_else_works_on_is_no_failure(feed: Path, arriving: Path, out: Path) -> None:
    scene_at(arriving, "a")
    scene_id = scene_id_of_key("boats/files/a", "a")
    with Lease(str(out), scene_id, 1.0, print):  # as a run by hand holds it
        for again in (None, "failed"):
            tick(feed, out, retry=again)
            entry = entries(out)["a"]
            assert (entry.state, entry.failures, entry.scene_id) == ("FAILED", 0, scene_id)
            assert entry.wait_s >= PAUSES_S[0]
            assert "another job is at work" in entry.sentence
    assert tick(feed, out, retry="failed").report.ended == {"PUBLISHED": 1}


def test_results_and_ledger_on_an_object_store(feed: Path, arriving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene_at(arriving, "a")
    with s3_process() as address:
        fill_bucket(address, name="results")
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        out = "s3://results/boats"
        assert tick(feed, out, collect=partial(tell_catalogue, out, Journal(print))).report.ended == {"PUBLISHED": 1}
        scene_at(arriving, "b", 1)
        assert [name[0] for name in tick(feed, out, collect=partial(tell_catalogue, out, Journal(print))).begun] == [
            "b"
        ]
        assert states(out) == {"a": "PUBLISHED", "b": "PUBLISHED"}
        names = {one["Key"] for one in s3_client(address).list_objects_v2(Bucket="results")["Contents"]}
    ids = {name.split("/")[1] for name in names if name.endswith("/manifest.json")}
    assert {f"boats/_catalogue/items/{scene_id}.json" for scene_id in ids} <= names
    assert not [name for name in names if "/ticks/" in name or name.endswith(".lease")], "nothing is left lying about"


def test_what_was_detected_by_hand_is_published_without_a_look(
    feed: Path, arriving: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene_at(arriving, "a")
    tick(feed, out)
    place = out / "_ledger" / name_of(entries(out)["a"].key)
    place.unlink()
    (out / "_ledger" / "ledger.parquet").unlink()
    monkeypatch.setattr(LocalExecutor, "map", None)  # nobody may look
    assert tick(feed, out).report.ended == {"PUBLISHED": 1}
    assert "nothing to do" in entries(out)["a"].sentence
