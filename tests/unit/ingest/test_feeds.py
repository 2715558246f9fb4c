"""Feeds over real servers: static catalogues, an API that pages, tables, lists, and what goes wrong in each."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.command_line import run_from
from pipeline.errors import ConfigError, StorageError
from pipeline.ingest.feed_file import FeedConfig, Filter, Source
from pipeline.ingest.feeds import scenes
from pipeline.ingest.scene_config import scene_config
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.survey import Survey
from pipeline.raster import open_scene
from tests.support import stac_items
from tests.support.layouts import PX, write_band
from tests.support.servers import http_server
from tests.support.stac_api import stac_api


def feed(kind: str, address: object, wanted: Filter | None = None, **source: Any) -> FeedConfig:
    return FeedConfig(name="f", source=Source(kind=kind, address=str(address), **source), filter=wanted or Filter())  # type: ignore[arg-type]


def both(one: FeedConfig, since: datetime | None = None) -> tuple[list[SceneToDo], list[Unusable]]:
    entries = list(scenes(one, since))
    return ([entry for entry in entries if isinstance(entry, SceneToDo)],
            [entry for entry in entries if isinstance(entry, Unusable)])  # fmt: skip


def views(count: int) -> list[dict[str, Any]]:
    """Items of Earth Search, a day apart."""
    return [
        stac_items.earth_search(
            f"S2A_{number:02}",
            datetime=f"2023-07-{number + 1:02}T00:00:00Z",
            updated=f"2023-08-{number + 1:02}T00:00:00Z",
        )
        for number in range(count)
    ]


class TestStatic:
    def test_a_tree_over_http_is_walked_once_and_relative_to_its_files(self, tmp_path: Path) -> None:
        """Though its collections link back to it."""
        stac_items.write_static(tmp_path, [stac_items.maxar(), stac_items.maxar("031133102001"), *views(3)])
        with http_server(tmp_path) as traffic:
            found, unusable = both(feed("static-stac", f"{traffic.url}/catalog.json"))
            asked = [path for method, path, _ in traffic.requests if method == "GET"]
        assert (len(found), unusable) == (5, [])
        assert len(asked) == len(set(asked)) == 8
        tile = next(one for one in found if one.key.startswith("f/10300100DFC06D00/"))
        assert tile.uri.startswith(f"{traffic.url}/10300100DFC06D00/items/10300100DFC06D00-visual.tif")
        assert [one.acquired for one in found] == sorted((one.acquired for one in found), reverse=True)

    def test_its_scenes_are_read_from_where_it_lies_with_its_classification(self, tmp_path: Path) -> None:
        item = stac_items.earth_search()
        for key, size, gsd_m in (("red", PX, 10.0), ("green", PX, 10.0), ("blue", PX, 10.0), ("scl", PX // 2, 20.0)):
            item["assets"][key]["href"] = f"./{key}.tif"
            file = tmp_path / "sentinel-2-l2a" / "items" / f"{key}.tif"
            write_band(file, gsd_m=gsd_m, px=size, dtype="uint8" if key == "scl" else "uint16")
        stac_items.write_static(tmp_path, [item])
        with http_server(tmp_path) as traffic:
            one = replace(feed("static-stac", f"{traffic.url}/catalog.json"), run={"raster.mask_values": [8, 9]})
            (found,), _ = both(one)
            config = scene_config(one, run_from({**one.run, "out": "o"}), found)
            opened = open_scene(config.scene[0], config.raster)
        assert (opened.width, opened.bands, opened.has_mask, opened.nodata) == (PX, (1, 2, 3), True, 0.0)
        assert config.raster.mask_file == f"{traffic.url}/sentinel-2-l2a/items/scl.tif"

    def test_a_tenth_that_is_broken_is_told_of_and_the_rest_comes(self, tmp_path: Path) -> None:
        items = views(10)
        stac_items.write_static(tmp_path, items)
        folder = tmp_path / "sentinel-2-l2a" / "items"
        (folder / "3.json").write_text("{")
        (folder / "7.json").unlink()
        with http_server(tmp_path, statuses={"/sentinel-2-l2a/items/5.json": 403}) as traffic:
            found, unusable = both(feed("static-stac", f"{traffic.url}/catalog.json"))
        assert len(found) == 7
        said = sorted(one.reason for one in unusable)
        assert len(said) == 3
        assert "HTTP 403" in said[0]
        assert "is no JSON" in said[1]
        assert "there is nothing at" in said[2]
        assert sorted(one.hides_scenes for one in unusable) == [False, True, True]
        assert not Survey(keys={one.key for one in found}, unusable=unusable).is_full

    def test_only_some_collections_and_a_limit(self, tmp_path: Path) -> None:
        root = stac_items.write_static(tmp_path, [stac_items.maxar(), *views(3)])
        found, _ = both(feed("static-stac", root, collections=("sentinel-2-l2a",)))
        assert len(found) == 3
        event = json.loads(root.read_text()) | {"type": "Collection", "id": "quake"}
        root.write_text(json.dumps(event))
        tiles, _ = both(feed("static-stac", root, collections=("10300100DFC06D00",)))
        assert [one.key for one in tiles] == ["f/10300100DFC06D00/31/031133102003/10300100DFC06D00"]
        with pytest.raises(ConfigError, match="more than 2 items"):
            both(feed("static-stac", root, max_items=2))

    def test_what_is_no_catalogue_ends_the_feed(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("[]")
        with pytest.raises(ConfigError, match="no STAC catalogue"):
            both(feed("static-stac", tmp_path / "a.json"))
        with pytest.raises(StorageError, match="there is nothing at"):
            both(feed("static-stac", tmp_path / "b.json"))

    def test_an_id_that_stands_for_other_files_too_is_said(self, tmp_path: Path) -> None:
        one, two = stac_items.aerial(), stac_items.aerial(href="https://host/other.tif")
        found, unusable = both(feed("static-stac", stac_items.write_static(tmp_path, [one, two])))
        assert len(found) == 1
        assert "names other files in a second entry" in unusable[0].reason


class TestApi:
    def test_all_pages_come_in_the_order_of_their_change_and_busy_answers_are_waited_for(self) -> None:
        with stac_api(views(25), busy=2) as api:
            found, unusable = both(feed("stac-api", api.url, page_size=10, collections=("sentinel-2-l2a",)))
        assert (len(found), unusable) == (25, [])
        assert api.asked[0]["sortby"][0] == {"field": "properties.updated", "direction": "asc"}
        assert api.asked[0]["collections"] == ["sentinel-2-l2a"]

    def test_nothing_is_lost_when_pages_shift_and_nothing_comes_twice(self) -> None:
        """An item that is deleted shifts the next page by one: what falls between them comes with the next pass."""
        items = views(25)
        with stac_api(items, before_page=lambda page: items.pop(0) if page == 1 else None) as api:
            found, _ = both(feed("stac-api", api.url, page_size=10))
        assert len(found) == 25
        assert len({one.key for one in found}) == 25

    def test_pages_that_repeat_items_and_items_that_are_none(self) -> None:
        items = views(6)
        with stac_api([*items, *items, {"id": "x"}, {"type": "Feature", "id": "y", "properties": {}}]) as api:
            found, unusable = both(feed("stac-api", api.url, page_size=5))
        assert len(found) == 6
        assert len(unusable) == 2

    def test_an_empty_page_is_not_the_last_one(self) -> None:
        """As of a server that filters pages after it has cut them."""

        def filtered(_: int, page: dict[str, Any]) -> dict[str, Any]:
            first = page["features"][0]["id"] if page["features"] else ""
            return page | {"features": []} if first == "S2A_02" else page

        with stac_api(views(6), odd=filtered) as api:
            found, _ = both(feed("stac-api", api.url, page_size=2))
        assert sorted(one.key[-6:] for one in found) == ["S2A_00", "S2A_01", "S2A_04", "S2A_05"]

    @pytest.mark.parametrize("answer", [{"code": "Timeout", "description": "the search took too long"}, [], "busy",
                                        {"features": "none"}])  # fmt: skip
    def test_an_answer_that_is_no_page_ends_the_feed_and_not_its_list(self, answer: Any) -> None:
        """What is seen in part must not look like all there is: the rest would be withdrawn."""
        with (
            stac_api(views(6), odd=lambda number, page: answer if number == 1 else page) as api,
            pytest.raises(StorageError, match="no page of items"),
        ):
            both(feed("stac-api", api.url, page_size=2))

    def test_pages_that_stay_empty_have_an_end(self) -> None:
        onwards = [{"rel": "next", "href": "/search?token=1"}]
        with (
            stac_api([], odd=lambda _, page: page | {"links": onwards}) as api,
            pytest.raises(StorageError, match="pages without an item"),
        ):
            both(feed("stac-api", api.url))

    def test_since_asks_for_changes_alone(self) -> None:
        with stac_api(views(9)) as api:
            found, _ = both(feed("stac-api", api.url), datetime(2023, 8, 7, tzinfo=UTC))
        assert [one.updated.day for one in found if one.updated is not None] == [9, 8, 7, 6, 5]

    def test_a_box_across_the_antimeridian_is_two_questions(self) -> None:
        fiji, holland = stac_items.aerial(), views(1)[0]
        fiji["bbox"] = [179.0, -17.0, 179.5, -16.0]
        with stac_api([fiji, holland]) as api:
            found, _ = both(
                feed(
                    "stac-api",
                    api.url,
                    Filter(bbox=(177.0, -20.0, -178.0, -15.0), since=datetime(2023, 1, 1, tzinfo=UTC)),
                )
            )
        assert [one.key for one in found] == ["f/openaerialmap/64b0"]
        assert api.asked[0]["datetime"] == "2023-01-01T00:00:00Z/.."
        assert [question["bbox"] for question in api.asked[:2]] == [[177, -20, 180, -15], [-180, -20, -178, -15]]

    def test_without_the_extra_it_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pystac_client", None)
        with pytest.raises(ConfigError, match="the extra stac"):
            both(feed("stac-api", "https://host/v1"))

    def test_what_a_server_refuses_and_what_is_no_api_end_the_feed(self, tmp_path: Path) -> None:
        with stac_api([], refuses=400) as api, pytest.raises(ConfigError, match="HTTP 400"):
            both(feed("stac-api", api.url))
        (tmp_path / "index.html").write_text("<html>")
        with http_server(tmp_path) as traffic, pytest.raises(ConfigError, match="is no STAC API"):
            both(feed("stac-api", f"{traffic.url}/index.html"))
        with pytest.raises(StorageError, match="does not answer"):
            both(feed("stac-api", "http://127.0.0.1:9"))


def test_a_table_gives_what_its_items_give(tmp_path: Path) -> None:
    """Written by the reference implementation, read by us; a row of nothing is one sentence."""
    stac_geoparquet = pytest.importorskip("stac_geoparquet.arrow")
    items = [*views(3), stac_items.aerial()]
    path = tmp_path / "items.parquet"
    table = pa.Table.from_batches(stac_geoparquet.parse_stac_items_to_arrow(items))
    pq.write_table(table, path)
    found, unusable = both(feed("stac-geoparquet", path))
    (tmp_path / "list.txt").write_text("")
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    plain, _ = both(feed("static-stac", tmp_path / "items.json"))
    assert unusable == []
    assert [(one.key, one.uri, one.offset_dn, one.acquired) for one in found] == [
        (one.key, one.uri, one.offset_dn, one.acquired) for one in plain
    ]
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigError, match="no stac-geoparquet table"):
        both(feed("stac-geoparquet", path))


def test_a_list_names_items_and_scenes(tmp_path: Path) -> None:
    write_band(tmp_path / "m_4107501_ne_18_060_20210828.tif", bands=4, dtype="uint8")
    (tmp_path / "one.json").write_text(json.dumps(stac_items.earth_search()))
    (tmp_path / "list.txt").write_text(
        "# what a queue wrote down\none.json\nm_4107501_ne_18_060_20210828.tif\n\nnone.json\nnone.tif\n"
        "B04.tif, B03.tif, B02.tif\n"
    )
    found, unusable = both(feed("list", tmp_path / "list.txt"))
    assert len(found) == 2
    quad = next(one for one in found if "m_4107501" in one.uri)
    assert (quad.acquired, quad.gsd_m) == (datetime(2021, 8, 28, tzinfo=UTC), 0.6)
    assert len(unusable) == 3
    with http_server(tmp_path) as traffic:
        (tmp_path / "remote.txt").write_text("/etc/passwd.tif\nfile:///etc/passwd.tif\none.json")
        found, unusable = both(feed("list", f"{traffic.url}/remote.txt"))
    assert [one.uri for one in found if "passwd" in one.uri] == [f"{traffic.url}/etc/passwd.tif"]
    assert "a file of this machine" in unusable[0].reason
