"""STAC items of real catalogues' forms → scenes; whatever else comes is one sentence."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StorageError
from pipeline.ingest.feed_file import FeedConfig, Source
from pipeline.ingest.item_scenes import scene_of_item
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.signing import signed
from tests.support import stac_items
from tests.support.servers import http_server

HREF = "https://example.org/stac/items/one.json"
FEED = FeedConfig(name="f", source=Source(kind="list", address="list.txt"))


def scene(item: Any, href: str = HREF, feed: FeedConfig = FEED) -> SceneToDo:
    found = scene_of_item(feed, item, href)
    assert isinstance(found, SceneToDo), found
    return found


def reason(item: Any, href: str = HREF) -> str:
    found = scene_of_item(FEED, item, href)
    assert isinstance(found, Unusable), found
    assert "\n" not in found.reason
    return found.reason


def ends(one: SceneToDo) -> list[str]:
    return [uri.rsplit("/", 1)[1] for uri in one.uri.split(",")]


def test_earth_search_gives_red_green_blue_without_their_offset_twice() -> None:
    """Its values have it taken off already, whatever raster:bands goes on saying."""
    one = scene(stac_items.earth_search())
    assert ends(one) == ["B04.tif", "B03.tif", "B02.tif"]
    assert one.offset_dn == 0.0
    assert scene(stac_items.earth_search(applied=False)).offset_dn == 1000.0
    assert scene(stac_items.earth_search(applied=False, **{"s2:processing_baseline": "03.01"})).offset_dn == 0.0
    assert (one.key, one.cloud_cover, one.gsd_m) == ("f/sentinel-2-l2a/S2A_31UFU_20230701_0_L2A", 12.5, 10.0)
    assert one.acquired == datetime(2023, 7, 1, 11, 1, 5, 123_000, tzinfo=UTC)
    assert "attribution=contains modified Copernicus Sentinel data" in one.settings["output.meta"]


def test_planetary_computer_keeps_the_offset_and_a_new_signature_is_no_change() -> None:
    signed = scene(stac_items.planetary_computer("?se=2023-07-01&sig=abc"))
    assert signed.offset_dn == 1000.0
    assert signed.uri.count("?") == 3
    again = scene(stac_items.planetary_computer("?se=2023-07-02&sig=xyz"))
    assert (again.hint, again.origin) == (signed.hint, signed.origin)
    assert again.uri != signed.uri


def test_files_are_signed_when_they_are_about_to_be_read(tmp_path: Path) -> None:
    """One request for a container, as long as the signature lasts; what is signed already stays."""
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    (tmp_path / "sentinel2l2a01").mkdir()
    (tmp_path / "sentinel2l2a01" / "sentinel2-l2").write_text(
        json.dumps({"token": "sig=abc&se=1", "msft:expiry": ends})
    )
    listed = scene(stac_items.planetary_computer())
    with http_server(tmp_path) as traffic:
        ready = signed(replace(listed, signer=traffic.url))
        assert [uri.partition("?")[2] for uri in ready.uri.split(",")] == ["sig=abc&se=1"] * 3
        assert (ready.origin, ready.scene_id) == (listed.origin, listed.scene_id)
        assert signed(ready) == ready
        assert len([one for one in traffic.requests if one[0] == "GET"]) == 1
        unknown = replace(listed, signer=f"{traffic.url}/none")
        assert signed(unknown) == unknown, "a container that it does not know must not end every tick at its scenes"
        (tmp_path / "odd" / "sentinel2l2a01").mkdir(parents=True)
        (tmp_path / "odd" / "sentinel2l2a01" / "sentinel2-l2").write_text("<html>")
        with pytest.raises(StorageError, match="gives no signature"):
            signed(replace(listed, signer=f"{traffic.url}/odd"))
    aerial = scene(stac_items.aerial())
    assert signed(aerial) is aerial


def test_one_view_of_two_archives_and_processings_is_one_group() -> None:
    first, second = scene(stac_items.earth_search()), scene(stac_items.planetary_computer())
    assert first.supersedes == second.supersedes
    before = {"s2:processing_baseline": "03.01", "s2:product_uri": stac_items.PRODUCT.replace("N0509", "N0301")}
    older = scene(stac_items.earth_search("old", **before))
    assert older.supersedes == first.supersedes
    assert older.rank < first.rank


def test_maxar_umbra_naip_and_aerial_images_are_known_by_their_assets() -> None:
    tile, sar = scene(stac_items.maxar()), scene(stac_items.umbra())
    assert tile.uri == "https://example.org/stac/items/10300100DFC06D00-visual.tif"
    assert (tile.licence, tile.cloud_cover, tile.gsd_m) == ("CC-BY-NC-4.0", 3.0, 0.36)
    assert ends(sar) == ["2023-07-23-18-02-43_UMBRA-05_GEC.tif"]
    quad = scene(stac_items.naip())
    assert quad.settings["raster.bands"] == (1, 2, 3)
    assert quad.settings["raster.requester_pays"] is True
    aerial = scene(stac_items.aerial())
    assert (aerial.licence, aerial.gsd_m) == ("CC-BY-4.0", 0.05)
    assert "raster.requester_pays" not in aerial.settings


def test_an_unknown_source_is_read_by_what_its_assets_say() -> None:
    bands = [{"eo:common_name": name} for name in ("blue", "green", "red", "nir")]
    one = scene(stac_items.item("a", "own", {"all": {"href": "a.tif", "type": "image/tiff", "bands": bands}}))
    assert one.settings["raster.bands"] == (3, 2, 1)
    assets = {key: {"href": f"{key}.tif", "eo:bands": [{"common_name": name}]}
              for key, name in (("x1", "blue"), ("x2", "green"), ("x3", "red"))}  # fmt: skip
    assert ends(scene(stac_items.item("b", "own", assets))) == ["x3.tif", "x2.tif", "x1.tif"]
    named = FeedConfig(name="f", source=Source(kind="list", address="l", bands=("nir", "red", "green")))
    assert ends(scene(stac_items.earth_search(), feed=named)) == ["B08.tif", "B04.tif", "B03.tif"]


def broken(change: dict[str, Any]) -> dict[str, Any]:
    return {**copy.deepcopy(stac_items.earth_search()), **change}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (None, "is no STAC item"),
        ({}, "is no STAC item"),
        (broken({"type": "Collection"}), "is no STAC item"),
        (broken({"assets": None}), "has no assets"),
        (broken({"assets": {}}), "does not say which of its assets"),
        (broken({"bbox": [4, 52, 5, 51]}), "has the bbox"),
        (broken({"bbox": ["a"]}), "has the bbox"),
        (broken({"properties": {"datetime": "2023-13-01T00:00:00Z"}}), "is dated '2023-13-01T00:00:00Z'"),
        (stac_items.aerial(href="file:///etc/passwd.tif"), "a file of this machine"),
        (stac_items.aerial(href="http://["), "no address"),
        (stac_items.aerial(href="ftp://host/a.tif"), "cannot be read"),
        (stac_items.aerial(href="s3://bucket/a,b.tif"), "comma"),
    ],
)
def test_broken_items_are_one_sentence(item: Any, said: str) -> None:
    assert said in reason(item)


def test_assets_of_two_grids_are_one_sentence() -> None:
    item = stac_items.earth_search()
    item["assets"]["green"]["proj:shape"] = [5490, 5490]
    assert "two grids" in reason(item)


def test_a_comma_in_a_web_address_is_written_otherwise() -> None:
    assert scene(stac_items.aerial(href="https://host/a,b.tif")).uri == "https://host/a%2Cb.tif"


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
                        ["id", "type", "assets", "href", "properties", "datetime", "bbox", "visual", "eo:bands"]
                    ) | st.text(), inner)))  # fmt: skip
def test_nothing_that_json_holds_raises(item: Any) -> None:
    changed = {**stac_items.earth_search(), **item} if isinstance(item, dict) else item
    assert isinstance(scene_of_item(FEED, changed, HREF), SceneToDo | Unusable)
