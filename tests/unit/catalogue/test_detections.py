"""The dataset of all detections: what readers see after scenes came, changed and went."""

from __future__ import annotations

import errno
import importlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import shapely

from pipeline.catalogue.compaction import compact
from pipeline.catalogue.detections import Updated, update
from pipeline.catalogue.export import export
from pipeline.catalogue.results import published_results
from pipeline.catalogue.snapshot import read_snapshot, sweep
from pipeline.errors import ConfigError, StorageError
from pipeline.outputs.selection import Selection
from pipeline.storage.conditional import list_objects
from pipeline.storage.files import read_file, remove_file
from tests.support.results import MadeScene, boxes_at, dataset_rows

A = MadeScene(scene_id="a", boxes=boxes_at([[100, 100], [300, 500]]), scores=np.array([0.9, 0.6]))
B = MadeScene(
    scene_id="b", boxes=boxes_at([[200, 700]]), epsg=32733, origin=(300_000, 6_200_000), acquired="2024-01-31"
)


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def collected(out: str, *scene_ids: str, gone: tuple[str, ...] = ()) -> Updated:
    return update(out, published_results(out, scene_ids or None), gone)


def files(out: str) -> list[dict[str, object]]:
    return json.loads((Path(out) / "_catalogue/detections/snapshot.json").read_text())["files"]


def test_scenes_of_two_zones_are_one_table_in_longitude_and_latitude(out: str) -> None:
    for scene in (A, B):
        scene.publish(out)
    done = collected(out)
    assert (done.added, done.rows) == (("a", "b"), 3)
    rows = dataset_rows(out)
    assert [row["scene_id"] for row in rows] == ["a", "a", "b"]
    for row, scene in zip(rows, (A, A, B), strict=True):
        assert scene.georeference is not None
        where = scene.georeference.scene_to_lonlat(np.array([row["px_cx"], row["px_cy"]]))
        assert (row["lon"], row["lat"]) == pytest.approx(tuple(where), abs=1e-8)
        ring = shapely.from_wkb(row["geometry"])
        assert ring.contains(shapely.Point(where))
        assert row["bbox"]["xmin"] <= ring.bounds[0] <= ring.bounds[2] <= row["bbox"]["xmax"]
        assert row["object_id"] == row["detection_id"]
        assert row["primary"] is True
    assert [str(row["acquired_utc"]) for row in rows[1:]] == ["2023-07-14 10:20:30+00:00", "2024-01-31 00:00:00+00:00"]
    assert [file["path"].rsplit("/", 1)[0] for file in files(out)] == [
        "model=ships@0123456789ab/month=2023-07", "model=ships@0123456789ab/month=2024-01"
    ]  # fmt: skip


def test_what_is_in_already_changes_nothing(out: str) -> None:
    A.publish(out)
    collected(out)
    snapshot = Path(out) / "_catalogue/detections/snapshot.json"
    before = snapshot.read_bytes(), snapshot.stat().st_mtime_ns
    assert collected(out) == Updated()
    replace(A, run_id="e" * 16, boxes=A.boxes).publish(out)  # the same found again: only the run's id differs
    assert collected(out).replaced == ("a",)
    assert snapshot.read_bytes() != before[0]


def test_a_scene_that_is_published_again_leaves_nothing_of_the_first(out: str) -> None:
    for scene in (A, B):
        scene.publish(out)
    collected(out)
    replace(A, boxes=boxes_at([[900, 900]]), scores=None, acquired="2023-08-01", status="PARTIAL").publish(out)
    done = collected(out)
    assert (done.replaced, done.added, done.removed) == (("a",), (), ())
    rows = dataset_rows(out)
    assert [(row["scene_id"], row["acquired"], row["status"]) for row in rows] == [
        ("a", "2023-08-01", "PARTIAL"), ("b", "2024-01-31", "PUBLISHED")
    ]  # fmt: skip
    assert collected(out, "b", gone=("a",)).removed == ("a",)
    assert [row["scene_id"] for row in dataset_rows(out)] == ["b"]


def test_a_glob_finds_what_the_snapshot_lists(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many readers take all files that there are: nothing but detections may lie there, and nothing that was replaced,
    not even by a job that was killed before it had removed it."""
    for scene in (A, B):
        scene.publish(out)
    collected(out)
    replace(A, boxes=boxes_at([[900, 900]]), scores=None).publish(out)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.catalogue.detections.sweep", _killed)
        with pytest.raises(KeyboardInterrupt):
            collected(out)
    assert len(_globbed(out)) == 3
    assert collected(out) == Updated()
    assert _globbed(out) == {str(one["path"]) for one in files(out)}
    replace(A, scene_id="better", scores=np.array([0.95, 0.95]), acquired="2023-07-14T10:20:40Z").publish(out)
    A.publish(out)
    collected(out)
    assert _globbed(out) == {str(one["path"]) for one in files(out)}
    assert len(dataset_rows(out)) == 5


def test_a_file_that_comes_back_is_not_removed_by_who_saw_it_go(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best view of an object comes and goes, and with it the rows of the others: as they were, by then. Whoever
    sweeps has looked before that, and removes after."""
    A.publish(out)
    collected(out)
    replace(A, scene_id="better", scores=np.array([0.95, 0.95]), acquired="2023-07-14T10:20:40Z").publish(out)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.catalogue.detections.sweep", _killed)
        with pytest.raises(KeyboardInterrupt):
            collected(out)
    seen: list[str] = []

    def removed(uri: str) -> None:
        seen.append(uri)
        if len(seen) == 1:
            collected(out, "a", gone=("better",))
        remove_file(uri)

    monkeypatch.setattr("pipeline.catalogue.snapshot.remove_file", removed)
    sweep(out)
    assert seen
    assert [row["scene_id"] for row in dataset_rows(out)] == ["a", "a"]
    assert _globbed(out) == {str(one["path"]) for one in files(out)}


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def _globbed(out: str) -> set[str]:
    base = Path(out) / "_catalogue/detections"
    return {str(path.relative_to(base)) for path in base.rglob("*.parquet")}


@pytest.mark.parametrize("reader", ["detections.read_rows", "export.selected"])
def test_a_file_that_somebody_replaces_while_it_is_read_is_no_fault(out: str, reader: str) -> None:
    """A writer and the export begin again with what is there by then."""
    A.publish(out)
    collected(out)
    replace(A, boxes=boxes_at([[101, 100]]), scores=np.array([0.9])).publish(out)
    replace(A, scene_id="twin", acquired="2023-07-14T10:20:50Z", scores=np.array([0.8, 0.5])).publish(out)
    module, _, name = reader.partition(".")
    original = getattr(importlib.import_module(f"pipeline.catalogue.{module}"), name)

    def late(*given: object) -> object:
        patch.undo()
        assert collected(out, "a").replaced == ("a",)
        return original(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"pipeline.catalogue.{reader}", late)
        if name == "selected":
            assert export(out, Selection(), "csv", f"{out}.csv").rows == 1
            return
        assert collected(out, "twin").added == ("twin",)
    rows = [(row["scene_id"], row["primary"]) for row in dataset_rows(out)]
    assert sorted(rows) == [("a", True), ("twin", False), ("twin", True)]


def test_a_pixel_scene_is_left_out_and_said_once(out: str) -> None:
    replace(A, epsg=None).publish(out)
    replace(B, scene_id="empty", boxes=np.zeros((0, 5))).publish(out)
    done = collected(out)
    assert done.left_out == (("a", "it has no CRS: places on Earth are unknown"),)
    assert files(out) == []
    assert collected(out) == Updated()


def test_a_damaged_file_leaves_out_its_scene_alone(out: str) -> None:
    for scene in (A, B):
        scene.publish(out)
    (Path(out) / "a" / "detections.parquet").write_bytes(b"PAR1 no more")
    done = collected(out)
    assert [name for name, _ in done.left_out] == ["a"]
    assert [row["scene_id"] for row in dataset_rows(out)] == ["b"]


def test_a_full_disk_leaves_no_scene_out(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no fault of the result: the update fails as a whole, and the next one takes all."""
    A.publish(out)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.outputs.dataset.DatasetWriter.write", full)
        with pytest.raises(StorageError, match="No space left"):
            collected(out)
    assert collected(out).added == ("a",)


def test_many_writers_at_once_lose_nothing(out: str) -> None:
    scenes = [
        replace(A, scene_id=f"s{number}", boxes=boxes_at([[50 + 9 * number, 70]]), scores=None) for number in range(6)
    ]
    for scene in scenes:
        scene.publish(out)
    threads = [threading.Thread(target=collected, args=(out, scene.scene_id)) for scene in scenes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["scene_id"] for row in dataset_rows(out)] == [scene.scene_id for scene in scenes]


def test_another_same_pass_is_refused_in_a_sentence(out: str) -> None:
    A.publish(out)
    collected(out)
    with pytest.raises(ConfigError, match="same_pass_s 60, not 10"):
        update(out, published_results(out), same_pass_s=10.0)
    with pytest.raises(ConfigError, match="from 0 on, not nan"):
        update(out, published_results(out), same_pass_s=float("nan"))


@pytest.mark.parametrize(
    ("epsg", "origin"),
    [(32601, (166_021.0, 1_000.0)), (3413, (-5_000.0, 5_000.0)), (3031, (-5_000.0, 5_000.0))],
    ids=["antimeridian", "north pole", "south pole"],
)
def test_boxes_across_the_antimeridian_and_around_a_pole_stay_on_the_map(
    out: str, epsg: int, origin: tuple[float, float]
) -> None:
    """No bounds of a row or a file may miss them, and their areas are not those of a belt around the Earth."""
    where = np.array([[10.0, 90.0]]) if epsg == 32601 else np.array([[500.0, 500.0]])
    x = 10.0 if epsg != 32601 else None
    scene = MadeScene(scene_id="a", boxes=boxes_at(where, length=60, width=30), epsg=epsg, origin=origin, gsd=x or 10.0)
    scene.publish(out)
    collected(out)
    (row,) = dataset_rows(out)
    shape = shapely.from_wkb(row["geometry"])
    assert shape.is_valid
    assert -180 <= shape.bounds[0] <= shape.bounds[2] <= 180
    assert -90 <= shape.bounds[1] <= shape.bounds[3] <= 90
    (west, south, east, north) = (row["bbox"][side] for side in ("xmin", "ymin", "xmax", "ymax"))
    assert west <= shape.bounds[0]
    assert east >= shape.bounds[2]
    assert south <= row["lat"] <= north
    if epsg == 32601:
        assert shape.geom_type == "MultiPolygon"
        assert shape.area * (111_195**2) == pytest.approx(60 * 30 * 100, rel=0.01)
    else:
        assert abs(shape.bounds[3] if epsg == 3413 else shape.bounds[1]) == 90


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from tests.support.servers import s3_server

    with s3_server() as address:
        yield address


def test_on_an_object_store_too(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENDPOINT_URL": server, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    out = f"s3://scenes/{tmp_path.name}"
    A.publish(out)
    assert collected(out).added == ("a",)
    assert collected(out) == Updated()
    replace(A, boxes=boxes_at([[900, 900]]), scores=None).publish(out)
    assert collected(out).replaced == ("a",)
    replace(A, scene_id="twin", acquired="2023-07-14T10:20:50Z").publish(out)
    assert collected(out).added == ("twin",)
    assert compact(out, parts=2) == 2
    replace(A, scene_id="better", scores=np.array([0.95, 0.95]), acquired="2023-07-14T10:20:40Z").publish(out)
    assert collected(out).added == ("better",)
    file = f"s3://scenes/{tmp_path.name}.csv"
    assert export(out, Selection(), "csv", file).rows == 3
    assert [line.split(b",")[1] for line in (read_file(file) or b"").splitlines()[1:]].count(b'"better"') == 2
    there = read_snapshot(out)
    assert there is not None
    listed = {one.path for one in there[0].files}
    assert {one.name for one in list_objects(f"{out}/_catalogue/detections")} == {*listed, "snapshot.json"}
    assert sweep(out, datetime.now(UTC) + timedelta(days=1, minutes=1)) == 4  # lists of scenes
    assert export(out, Selection(), "csv", file, every_view=True).rows == 5
