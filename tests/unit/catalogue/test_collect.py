"""The results of an output folder become a STAC collection that schemas and other people's readers accept."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import shapely
import stac_geoparquet.arrow

from jobs.collect_results import main
from pipeline.catalogue.collect import Collected, collect
from pipeline.errors import ConfigError
from pipeline.reporting.journal import Journal
from pipeline.runs.context import SILENT
from pipeline.storage.files import file_names, read_file, remove_file, write_file
from tests.support.detected_results import KINDS, Kind, card, publish
from tests.support.results import dataset_rows
from tests.support.stac import complaints


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One result of each kind, and the report of a failure; never changed, only copied."""
    folder = tmp_path_factory.mktemp("results")
    for name, kind in KINDS.items():
        publish(folder, str(folder / "out"), name, kind)
    failed = folder / "out" / "failed"
    failed.mkdir()
    (failed / "run.json").write_text('{"status": "FAILED"}')
    return folder


@pytest.fixture
def out(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def collected(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of all kinds; read only."""
    out = tmp_path_factory.mktemp("collected") / "harbours"
    shutil.copytree(results / "out", out)
    collect(str(out), SILENT)
    return out / "_catalogue"


def documents(catalogue: Path) -> dict[str, dict[str, Any]]:
    """The STAC documents by their paths."""
    paths = [catalogue / "collection.json", *catalogue.glob("items/*.json"), *catalogue.glob("models/*.json")]
    return {path.relative_to(catalogue).as_posix(): json.loads(path.read_text()) for path in paths}


def scenes_of_table(out: Path) -> set[str]:
    """Scenes with rows in the table of all detections."""
    return {str(row["scene_id"]) for row in dataset_rows(str(out))}


def item(catalogue: Path, scene_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((catalogue / "items" / f"{scene_id}.json").read_text())
    return found


def counts(done: Collected) -> tuple[int, int, int, int]:
    return done.scenes, done.added, done.replaced, done.removed


def test_every_document_is_valid_by_the_schemas_of_stac_and_of_its_extensions(collected: Path) -> None:
    found = documents(collected)
    assert set(found) == {
        "collection.json", "models/tiny@fedcba987654.json", *(f"items/{name}.json" for name in KINDS),
    }  # fmt: skip
    assert {name: complaints(document) for name, document in found.items() if complaints(document)} == {}


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (lambda one: one["assets"]["detections"].update({"file:checksum": "sha256"}), "file"),
        (lambda one: one["properties"].update({"proj:shape": [1]}), "projection"),
        (lambda one: one["properties"].pop("datetime"), "item"),
        (lambda one: one["properties"].update({"processing:software": {}}) or one["properties"].update(
            {"processing:expression": "x"}), "processing"),
    ],
)  # fmt: skip
def test_the_schemas_do_judge(collected: Path, harm: Any, name: str) -> None:
    harmed = item(collected, "upright")
    harm(harmed)
    assert any(name in said for said in complaints(harmed))


def test_pystac_opens_the_collection_and_follows_it_to_files(collected: Path) -> None:
    from pystac.extensions.file import FileExtension
    from pystac.extensions.projection import ProjectionExtension
    from pystac.extensions.table import TableExtension

    collection = pystac.Collection.from_file(str(collected / "collection.json"))
    items = {one.id: one for one in collection.get_items()}
    assert set(items) == set(KINDS)
    assert collection.id == "harbours"
    detections = items["upright"].assets["detections"]
    path = Path(detections.get_absolute_href() or "")
    table = TableExtension.ext(detections)
    assert pq.read_table(path).num_rows == table.row_count == 3
    assert [column.name for column in table.columns] == pq.read_schema(path).names
    assert FileExtension.ext(detections).size == path.stat().st_size
    projection = ProjectionExtension.ext(items["upright"])
    assert (projection.code, projection.shape) == ("EPSG:32632", [64, 96])
    assert projection.transform == [10, 0, 400_000, 0, -10, 5_000_000]
    for one in items.values():
        assert one.get_collection().id == "harbours"
        models = [link for link in one.get_links("derived_from") if link.extra_fields.get("mlm:name") == "tiny"]
        model = models[0].resolve_stac_object().target
        assert isinstance(model, pystac.Item)
        assert model.properties["mlm:name"] == "tiny"
        for asset in one.assets.values():
            assert Path(asset.get_absolute_href() or "").is_file()


def test_an_item_says_where_and_when_its_scene_was_taken_as_far_as_that_is_known(collected: Path) -> None:
    told = {name: item(collected, name) for name in KINDS}
    assert told["upright"]["properties"]["datetime"] == "2023-07-14T08:20:30Z"
    day = told["turned"]["properties"]
    assert [day[name] for name in ("datetime", "start_datetime", "end_datetime")] == [
        "2023-07-15T00:00:00Z", "2023-07-15T00:00:00Z", "2023-07-15T23:59:59Z",
    ]  # fmt: skip
    unknown = told["points"]["properties"]
    assert unknown["datetime"] is None
    assert unknown["end_datetime"] == unknown["created"] > unknown["start_datetime"]
    assert told["pixels"]["geometry"] is None
    assert not {"bbox", "proj:code"} & {*told["pixels"], *told["pixels"]["properties"]}
    assert "proj:transform" not in told["points"]["properties"]
    assert len(told["turned"]["geometry"]["coordinates"][0]) == 5
    west, _, east, _ = told["fiji"]["bbox"]
    assert west > 179
    assert east < -179
    assert told["fiji"]["geometry"]["type"] == "MultiPolygon"
    assert {link["href"] for link in told["turned"]["links"]} >= {"https://example.com/items/turned"}
    assert told["upright"]["properties"]["kestrel:scene_licence"] == "CC-BY-4.0"


def test_a_map_over_the_scene_has_a_grid_of_its_own(collected: Path) -> None:
    with rasterio.open(collected.parent / "turned" / "attention.tif") as file:
        said = item(collected, "turned")["assets"]["attention"]
        assert said["proj:shape"] == list(file.shape)
        assert said["proj:transform"] == pytest.approx(list(file.transform)[:6])


def test_the_model_says_what_it_looks_at_and_how_its_numbers_are_scaled(collected: Path) -> None:
    model = documents(collected)["models/tiny@fedcba987654.json"]
    said = model["properties"]
    assert said["license"] == "CC0-1.0"
    assert said["mlm:architecture"] == "backbone of none, head of truth"
    (taken,) = said["mlm:input"]
    assert (taken["bands"], taken["input"]["shape"]) == (["red", "green", "blue"], [-1, 3, 64, 64])
    assert taken["input"]["dim_order"][1] == "bands"
    assert taken["value_scaling"][0] == {"type": "z-score", "mean": 127.5, "stddev": 63.75}
    assert [one["name"] for one in said["mlm:output"][0]["classification:classes"]] == ["ship", "quay-crane-1"]
    assert said["start_datetime"] < said["end_datetime"]


def test_the_mirror_gives_the_same_items_to_other_readers(collected: Path) -> None:
    import duckdb
    import geopandas

    mirror = collected / "items.parquet"
    frame = geopandas.read_parquet(mirror)
    assert frame.crs == "OGC:CRS84"
    assert set(frame["id"]) == set(KINDS)
    assert str(frame["datetime"].dtype).startswith("datetime64")
    back = {one["id"]: one for one in stac_geoparquet.arrow.stac_table_to_items(pq.read_table(mirror))}
    for name in KINDS:
        read, said = back[name], item(collected, name)
        assert read["assets"].keys() == said["assets"].keys()
        assert read["properties"]["kestrel:tiles"] == said["properties"]["kestrel:tiles"]
        if said["geometry"] is None:
            assert not read["geometry"]["coordinates"]
            assert np.isnan(read["bbox"]).all()
        else:
            assert list(read["bbox"]) == said["bbox"]
            shapes = [shapely.from_geojson(json.dumps(one["geometry"])) for one in (read, said)]
            assert shapely.equals(*shapes)
    rows = duckdb.sql(
        f"select id, \"kestrel:detections\", bbox.xmin, assets.detections.href from '{mirror}' order by id"
    ).fetchall()
    assert rows[-1][:2] == ("upright", 3)
    assert rows[-1][3] == "../../upright/detections.parquet"
    meta = json.loads(pq.read_schema(mirror).metadata[b"stac-geoparquet"])
    assert meta["version"] == "1.1.0"
    assert complaints(meta["collections"]["harbours"]) == []
    assert "collection-mirror" in documents(collected)["collection.json"]["assets"]["items"]["roles"]


def test_what_is_in_the_collection_already_is_compared_and_not_written(out: Path) -> None:
    first = collect(str(out), SILENT)
    assert counts(first) == (5, 5, 0, 0)
    assert (first.placeless, first.rows) == (1, 12)
    assert scenes_of_table(out) == set(KINDS) - {"pixels"}
    before = {path: path.stat().st_mtime_ns for path in (out / "_catalogue").rglob("*") if path.is_file()}
    assert counts(collect(str(out), SILENT)) == (5, 0, 0, 0)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_results_that_come_change_and_go_are_followed(out: Path, tmp_path: Path) -> None:
    collect(str(out), SILENT)
    shutil.rmtree(out / "points")
    (out / "fiji" / "detections.parquet").unlink()
    publish(tmp_path, str(out), "upright", KINDS["upright"], card(sha256="00" * 32))
    publish(tmp_path, str(out), "another")
    assert counts(collect(str(out), SILENT, ("another",))) == (6, 1, 0, 0)
    # Of a result that lost a file the manifest is the same: nobody looks at all files of what has not changed.
    assert counts(collect(str(out), SILENT)) == (5, 0, 1, 1)
    found = documents(out / "_catalogue")
    assert scenes_of_table(out) == {"another", "fiji", "turned", "upright"}
    assert "items/points.json" not in found
    assert [link["href"] for link in found["collection.json"]["links"] if link["rel"] == "derived_from"] == [
        "./models/tiny@000000000000.json", "./models/tiny@fedcba987654.json",
    ]  # fmt: skip
    assert not [said for document in found.values() for said in complaints(document)]
    assert set(pq.read_table(out / "_catalogue" / "items.parquet")["id"].to_pylist()) == {
        "another", "fiji", "pixels", "turned", "upright",
    }  # fmt: skip


def test_items_that_no_mirror_names_are_swept_and_a_broken_mirror_is_made_anew(out: Path) -> None:
    collect(str(out), SILENT)
    catalogue = out / "_catalogue"
    (catalogue / "items" / "killed.json").write_text("{}")
    (catalogue / "items.parquet").write_bytes(b"half a file")
    (catalogue / "collection.json").write_text("{")
    said: list[str] = []
    assert counts(collect(str(out), Journal(said.append))) == (5, 5, 0, 0)
    assert any("no table of items" in line for line in said)
    assert set(documents(catalogue)) == {
        "collection.json", "models/tiny@fedcba987654.json", *(f"items/{name}.json" for name in KINDS),
    }  # fmt: skip


def test_a_table_of_detections_that_went_missing_is_made_anew(out: Path) -> None:
    collect(str(out), SILENT)
    shutil.rmtree(out / "_catalogue" / "detections")
    assert collect(str(out), SILENT, same_pass_s=5).rows == 12
    assert collect(str(out), SILENT).rows == 0
    with pytest.raises(ConfigError, match="same_pass_s"):
        collect(str(out), SILENT, same_pass_s=60)


def test_what_a_person_wrote_into_the_collection_stays(out: Path, tmp_path: Path) -> None:
    collect(str(out), SILENT)
    file = out / "_catalogue" / "collection.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"title": "Ours", "license": "CC-BY-4.0", "id": "ours"}))
    publish(tmp_path, str(out), "another")
    assert counts(collect(str(out), SILENT)) == (6, 1, 5, 0)
    said = json.loads(file.read_text())
    assert (said["title"], said["license"], said["id"]) == ("Ours", "CC-BY-4.0", "ours")
    assert len([link for link in said["links"] if link["rel"] == "item"]) == 6
    assert {item(out / "_catalogue", name)["collection"] for name in ("another", "upright")} == {"ours"}


def test_a_record_of_an_older_version_gives_an_item_that_says_less(out: Path) -> None:
    """Before there were columns, bands and licences in it, and local addresses were as given."""
    path = out / "upright" / "run.json"
    record = json.loads(path.read_text())
    record["model"] = {name: record["model"][name] for name in ("name", "sha256", "gsd_m", "classes")}
    record["config"]["weights"] = "weights/mine"
    for name in ("columns", "origin", "work", "metrics"):
        del record[name]
    for name in ("rpc", "band_nodata", "palette", "negative", "band_names"):
        del record["scene"][name]
    path.write_text(json.dumps(record))
    manifest = json.loads((out / "upright" / "manifest.json").read_text())
    manifest["files"]["run.json"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (out / "upright" / "manifest.json").write_text(json.dumps(manifest))
    for name in KINDS:
        if name != "upright":
            shutil.rmtree(out / name)
    assert counts(collect(str(out), SILENT)) == (1, 1, 0, 0)
    found = documents(out / "_catalogue")
    assert not [said for document in found.values() for said in complaints(document)]
    assert "table:columns" not in found["items/upright.json"]["assets"]["detections"]
    weights = found["models/tiny@fedcba987654.json"]["assets"]["weights"]
    assert weights["href"] == f"urn:sha256:{record['model']['sha256']}"


def test_a_record_that_no_run_wrote_is_left_out_and_named(out: Path) -> None:
    content = b'{"scene_id": "turned", "status": "PUBLISHED"}'
    (out / "turned" / "run.json").write_bytes(content)
    manifest = {"files": {"run.json": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}}
    (out / "turned" / "manifest.json").write_text(json.dumps(manifest))
    said: list[str] = []
    assert counts(collect(str(out), Journal(said.append))) == (4, 4, 0, 0)
    assert [line for line in said if line.startswith("turned: its run.json is none that a run writes")]


def test_numbers_that_json_does_not_know_cost_their_scene_alone(out: Path) -> None:
    content = (out / "turned" / "run.json").read_bytes().replace(b'"score_threshold": 0.4', b'"score_threshold": NaN')
    (out / "turned" / "run.json").write_bytes(content)
    manifest = json.loads((out / "turned" / "manifest.json").read_text())
    manifest["files"]["run.json"]["sha256"] = hashlib.sha256(content).hexdigest()
    (out / "turned" / "manifest.json").write_text(json.dumps(manifest))
    (out / "notes.txt").write_text("a file of somebody's")
    assert counts(collect(str(out), SILENT)) == (4, 4, 0, 0)


def test_scenes_without_a_result_make_an_empty_collection(out: Path) -> None:
    """As a tick leaves it whose scenes all failed."""
    assert counts(collect(str(out), SILENT, ("failed",))) == (0, 0, 0, 0)
    collection = pystac.Collection.from_file(str(out / "_catalogue" / "collection.json"))
    assert list(collection.get_items()) == []
    assert complaints(collection.to_dict(include_self_link=False)) == []
    assert counts(collect(str(out), SILENT)) == (5, 5, 0, 0)


def test_two_who_collect_at_once_leave_one_whole_collection(out: Path) -> None:
    names = [name for name in KINDS if name != "pixels"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: collect(str(out), SILENT, (name,)), names))
    assert set(pq.read_table(out / "_catalogue" / "items.parquet")["id"].to_pylist()) == set(names)
    assert scenes_of_table(out) == set(names)
    said = json.loads((out / "_catalogue" / "collection.json").read_text())
    assert {link["title"] for link in said["links"] if link["rel"] == "item"} == set(names)
    assert said["assets"]["items"]["file:size"] == (out / "_catalogue" / "items.parquet").stat().st_size


def test_a_bucket_is_collected_by_two_at_once_as_a_folder_is(out: Path, bucket: str) -> None:
    for path in [*out.glob("points/*.*"), *out.glob("upright/*.*")]:
        write_file(f"{bucket}/{path.relative_to(out).as_posix()}", path.read_bytes())
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: collect(bucket, SILENT), range(2)))
    assert {done.scenes for done in both} == {2}
    remove_file(f"{bucket}/points/manifest.json")
    assert counts(collect(bucket, SILENT)) == (1, 0, 0, 1)
    told = json.loads(read_file(f"{bucket}/_catalogue/collection.json") or b"")
    mirror = read_file(f"{bucket}/_catalogue/items.parquet") or b""
    assert complaints(told) == []
    assert told["assets"]["items"]["file:checksum"] == "1220" + hashlib.sha256(mirror).hexdigest()
    assert file_names(f"{bucket}/_catalogue/items") == {"upright.json"}


@pytest.mark.parametrize("last", ["items", "models", "detections", "items.parquet"])
def test_who_is_killed_leaves_work_that_the_next_one_ends(
    out: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """Killed after the last write of a kind: whatever is read then is whole, and collecting again ends the work."""
    from pipeline.catalogue import collect as job
    from pipeline.catalogue import mirror

    collect(str(out), SILENT, ("upright",))
    where = {
        "items": (job, "_write_model"), "models": (job, "update"), "detections": (job, "write_mirror"),
        "items.parquet": (mirror, "exchange"),
    }  # fmt: skip
    place, name = where[last]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, _killed_at("collection.json", mirror.exchange) if place is mirror else _killed)
        with pytest.raises(KeyboardInterrupt):
            collect(str(out), SILENT)
    catalogue = out / "_catalogue"
    collection = pystac.Collection.from_file(str(catalogue / "collection.json"))
    assert {one.id for one in collection.get_items()} == {"upright"}
    listed = pq.read_table(catalogue / "items.parquet")["id"].to_pylist()
    assert set(listed) == (set(KINDS) if last == "items.parquet" else {"upright"})
    assert all((catalogue / "items" / f"{name}.json").is_file() for name in listed)
    assert collect(str(out), SILENT).scenes == 5
    assert {one.id for one in pystac.Collection.from_file(str(catalogue / "collection.json")).get_items()} == set(KINDS)
    assert scenes_of_table(out) == set(KINDS) - {"pixels"}


def _killed(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def _killed_at(name: str, act: Any) -> Any:
    def tried(uri: str, *rest: Any) -> Any:
        return _killed() if uri.endswith(name) else act(uri, *rest)

    return tried


def test_the_command_tells_what_came_of_it(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(out)]) == 0
    assert main([str(out), "--log", "json"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].endswith(
        "_catalogue/collection.json: 5 scenes, 1 of them without a place on Earth; 5 added; 12 detections new"
    )
    told = json.loads(lines[-1])
    assert (told["event"], told["scenes"], told["added"]) == ("collected", 5, 0)
    assert main([str(out / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_time_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No filter by time finds the scene, though somebody said when it was taken."""
    publish(tmp_path, str(tmp_path / "out"), "a", Kind(meta=("acquired=2023-06-31",)))
    assert main([str(tmp_path / "out")]) == 0
    assert "a: '2023-06-31' is no time that it can have been taken at" in capsys.readouterr().err


def test_a_folder_without_results_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no results"):
        collect(str(tmp_path), SILENT)
    assert not list(tmp_path.iterdir())
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="is the result of one scene; give the folder that holds it"):
        collect(str(tmp_path), SILENT)
