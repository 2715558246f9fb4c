"""Compaction: the same rows in few files along the Hilbert curve, and everything that may happen to them afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.catalogue import compaction
from pipeline.catalogue.compaction import compact
from pipeline.catalogue.detections import update
from pipeline.catalogue.results import published_results
from pipeline.catalogue.snapshot import sweep
from pipeline.outputs.dataset_sort import sorted_files
from pipeline.outputs.rows import earth_index
from tests.support.results import MadeScene, boxes_at, dataset_rows

SCENES = [
    MadeScene(
        scene_id=f"s{number}", boxes=boxes_at([[150 + 7 * step, 200] for step in range(5)], length=6),
        scores=np.linspace(0.4, 0.8, 5) + number / 100, origin=(500_000.0 + 9_000 * number, 5_600_000.0),
        acquired=f"2023-07-14T1{number}:20:30Z",
    )
    for number in range(4)
]  # fmt: skip


@pytest.fixture
def out(tmp_path: Path) -> str:
    """Four scenes, collected and compacted."""
    folder = str(tmp_path / "out")
    collect(folder, SCENES)
    assert compact(folder, parts=2) == 4
    return folder


def collect(out: str, scenes: Iterable[MadeScene]) -> None:
    names = []
    for scene in scenes:
        scene.publish(out)
        names.append(scene.scene_id)
    update(out, published_results(out, names))


def snapshot(out: str) -> dict[str, list[dict[str, object]]]:
    return json.loads((Path(out) / "_catalogue/detections/snapshot.json").read_text())


def test_rows_are_the_same_and_lie_along_the_curve(tmp_path: Path) -> None:
    out = str(tmp_path)
    collect(out, SCENES)
    before = dataset_rows(out)
    assert compact(out) == 0  # four parts are not worth it
    assert compact(out, parts=2) == 4
    assert dataset_rows(out) == before
    (file,) = snapshot(out)["files"]
    assert (file["tier"], file["rows"]) == ("compacted", 20)
    table = pq.read_table(Path(out) / "_catalogue/detections" / str(file["path"]))
    keys = earth_index(table.column("lon").to_numpy(), table.column("lat").to_numpy())
    assert (np.diff(keys.astype(np.int64)) >= 0).all()
    assert compact(out, parts=2) == 0
    update(out, published_results(out))
    assert dataset_rows(out) == before


def test_large_amounts_go_by_way_of_buckets_into_several_files(tmp_path: Path) -> None:
    out = str(tmp_path)
    collect(out, SCENES)
    base = Path(out) / "_catalogue/detections"
    paths = [base / str(one["path"]) for one in snapshot(out)["files"]]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = list(sorted_files(paths, scratch, target_bytes=1, smallest_bytes=1, bucket_rows=3))
    assert len(made) > 3
    keys: list[int] = []
    for path, written in made:
        table = pq.read_table(path)
        assert len(table) == written.rows
        keys += earth_index(table.column("lon").to_numpy(), table.column("lat").to_numpy()).tolist()
    assert len(keys) == 20
    assert keys == sorted(keys)
    assert not list(scratch.glob("*.arrow"))
    whole = list(sorted_files(paths, scratch, target_bytes=1, smallest_bytes=10**9, bucket_rows=3))
    assert [written.rows for _, written in whole] == [20]  # what would follow is too little for a file


def test_a_scene_in_a_compacted_file_is_replaced_and_removed(out: str) -> None:
    collect(out, [replace(SCENES[1], boxes=boxes_at([[900, 900]]), scores=None)])
    rows = dataset_rows(out)
    assert [row["scene_id"] for row in rows].count("s1") == 1
    assert len(rows) == 16
    update(out, (), ("s0", "s1"))
    assert {row["scene_id"] for row in dataset_rows(out)} == {"s2", "s3"}
    assert compact(out, parts=1) == 0
    collect(out, [SCENES[1]])
    assert compact(out, parts=1) == 2  # a small compacted file is taken along
    assert len(dataset_rows(out)) == 15


def test_a_better_view_reaches_objects_in_compacted_files(out: str) -> None:
    best = replace(SCENES[2], scene_id="best", scores=np.full(5, 0.99), acquired="2023-07-14T12:20:40Z")
    collect(out, [best])
    rows = dataset_rows(out)
    seen = [row for row in rows if row["scene_id"] in ("s2", "best")]
    assert [row["scene_id"] for row in seen if row["primary"]] == ["best"] * 5
    assert len({row["object_id"] for row in seen}) == 5
    assert all(row["primary"] for row in rows if row["scene_id"] not in ("s2", "best"))
    update(out, (), ("best",))
    assert all(row["primary"] and row["object_id"] == row["detection_id"] for row in dataset_rows(out))


@pytest.mark.parametrize("when", ["before it is read", "after"])
def test_what_changed_meanwhile_is_not_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    out = str(tmp_path)
    collect(out, SCENES)
    sort = compaction.sorted_files

    def slowly(*given: object, **named: object) -> object:
        made = list(sort(*given, **named)) if when == "after" else None
        update(out, (), ("s0",))
        return sort(*given, **named) if made is None else made

    monkeypatch.setattr(compaction, "sorted_files", slowly)
    assert compact(out, parts=2) == 0
    assert {row["scene_id"] for row in dataset_rows(out)} == {"s1", "s2", "s3"}


def test_replaced_detections_go_at_once_and_what_nobody_listed_after_a_day(out: str) -> None:
    base = Path(out) / "_catalogue/detections"
    (base / "model=x").mkdir()
    (base / "model=x" / "part-of-somebody-killed.parquet").write_bytes(b"half")
    before = dataset_rows(out)
    assert sweep(out) == 4  # the parts: their names are not used again
    later = datetime.now(UTC) + timedelta(days=1, minutes=1)
    assert sweep(out, later) == 1 + 1  # the list of scenes of all, and what was never listed
    assert dataset_rows(out) == before
    known = snapshot(out)
    assert {str(path.relative_to(base)) for path in base.rglob("*.parquet")} == {one["path"] for one in known["files"]}
    lists = {str(path.relative_to(base.parent)) for path in base.parent.glob("scenes/**/*.parquet")}
    assert lists == {one["path"] for one in known["scenes"].values()}  # type: ignore[attr-defined]
