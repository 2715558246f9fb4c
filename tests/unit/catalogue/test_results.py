"""Results are found wherever whole ones lie, and only those."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.catalogue.results import manifests, published_result, published_results, scene_names
from pipeline.storage.folders import publish_folder, staging_folder


def publish(out: str, scene_id: str, *, whole: bool = True, said: str = "first") -> None:
    """A result by the storage's own hands: a record and one file."""
    with staging_folder(out, scene_id) as staged:
        (staged / "run.json").write_text(json.dumps({"scene_id": scene_id, "run_id": said}))
        (staged / "failures.parquet").write_bytes(said.encode())
        publish_folder(staged, out, scene_id, whole=whole)


@pytest.fixture(params=["local", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output folder of the test's own."""
    return str(tmp_path / "out") if request.param == "local" else str(request.getfixturevalue("bucket"))


def test_whole_results_are_found_in_the_order_of_their_names(out: str) -> None:
    """Reports of failures, and what lies beside the scenes under an underscore, are none."""
    for scene_id in ("b", "a", "c"):
        publish(out, scene_id)
    publish(out, "failed", whole=False)
    publish(out, "_runs")
    found = list(published_results(out))
    assert [one.scene_id for one in found] == ["a", "b", "c"]
    assert [one.record["run_id"] for one in found] == ["first"] * 3
    assert set(found[0].manifest["files"]) == {"run.json", "failures.parquet"}
    assert found[0].folder == f"{out}/a"
    assert [one.scene_id for one in published_results(out, ("c", "a", "failed", "not there"))] == ["a", "c"]
    assert [name for name, _ in manifests(out)] == ["a", "b", "c"]


def test_a_result_that_was_replaced_has_another_version(out: str) -> None:
    publish(out, "scene")
    before = published_result(out, "scene")
    publish(out, "scene")
    same = published_result(out, "scene")
    publish(out, "scene", said="second")
    after = published_result(out, "scene")
    assert before is not None
    assert same is not None
    assert after is not None
    assert before.version == same.version != after.version


@pytest.mark.parametrize("harm", ["file gone", "another record", "no record", "manifest cut", "manifest of lists"])
def test_a_result_with_something_missing_is_not_whole(tmp_path: Path, harm: str) -> None:
    publish(str(tmp_path), "scene")
    folder = tmp_path / "scene"
    if harm == "file gone":
        (folder / "failures.parquet").unlink()
    elif harm == "another record":
        (folder / "run.json").write_text("{}")
    elif harm == "no record":
        (folder / "run.json").unlink()
    else:
        (folder / "manifest.json").write_text(
            '{"files": {' if harm == "manifest cut" else '{"files": {"run.json": []}}'
        )
    assert list(published_results(str(tmp_path))) == []


def test_where_nothing_lies_nothing_is_found(tmp_path: Path) -> None:
    assert scene_names(str(tmp_path / "nowhere")) == []
    assert list(published_results(str(tmp_path / "nowhere"))) == []
