"""What names of scenes mean: the ids that come of them, and where a scene comes from."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from pipeline.raster.addresses import origin_of, scene_id_of


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (("/data/port of genoa (1).tif",), "port_of_genoa_1"),
        (("s3://bucket/a/b/scene.v2.tif",), "scene.v2"),
        (("https://host/x/scene.tif?token=secret/../..",), "scene"),
        (("/x/..hidden.tif",), "hidden"),
        (("/x/" + "a" * 120 + ".tif",), "a" * 120),
        (("B04.jp2", "B03.jp2", "B02.jp2"), "B04-B03-B02"),
        (("S2_B04_10m.jp2", "S2_B03_10m.jp2"), "S2_B04_10m-B03_10m"),
        (("a/same.tif", "b/same.tif"), "same"),
        (("/x/console.tif",), "console"),
    ],
)
def test_scene_ids_are_safe_folder_names(uris: tuple[str, ...], expected: str) -> None:
    assert scene_id_of(uris) == expected


@pytest.mark.parametrize(
    ("first", "second", "begins"),
    [
        ("北京.tif", "上海.tif", "scene-"),
        ("città.tif", "citt.tif", "citt"),
        ("è_1.tif", "é_1.tif", "1-"),
        ("x" * 150 + "1.tif", "x" * 150 + "2.tif", "x" * 100),
        ("a🚢.tif", "a⛵.tif", "a-"),
        ("CON.tif", "con.tif", "scene-"),
        ("lpt1.v2.tif", "lpt1.v3.tif", "scene-lpt1.v"),
        ("...tif", "___.tif", "scene-"),
    ],
)
def test_names_that_lost_letters_stay_apart_by_a_hash(first: str, second: str, begins: str) -> None:
    one, other = scene_id_of([first]), scene_id_of([second])
    assert one != other
    assert one.startswith(begins)
    assert scene_id_of([f"elsewhere/{first}"]) == one, "the name is hashed, and not its place"
    assert len(one) <= 120


@pytest.mark.parametrize("name", ["Genève.tif", "が.tif", "Å.tif"])
def test_a_name_has_one_id_however_its_letters_are_composed(name: str) -> None:
    assert scene_id_of([unicodedata.normalize("NFC", name)]) == scene_id_of([unicodedata.normalize("NFD", name)])


@pytest.mark.parametrize(
    ("template", "uri", "expected"),
    [
        ("{stem}", "/d1/TCI.tif", "TCI"),
        ("{parent}", "/d1/TCI.tif", "d1"),
        ("{parent}_{stem}", "s3://bucket/d1/TCI.tif", "d1_TCI"),
        ("{parent}_{stem}", "https://host/TCI.tif?sig=1", "host_TCI"),
        ("berth 7", "/d1/TCI.tif", "berth_7"),
        ("../{stem}", "/d1/TCI.tif", "TCI"),
    ],
)
def test_a_template_names_the_folder(template: str, uri: str, expected: str) -> None:
    assert scene_id_of([uri], template) == expected


def test_the_hash_of_a_template_is_that_of_the_place_and_not_of_its_signature() -> None:
    ids = [scene_id_of([uri], "{stem}-{hash}") for uri in ("/d1/TCI.tif", "/d2/TCI.tif", "https://h/TCI.tif?sig=1")]
    assert len(set(ids)) == 3
    assert scene_id_of(["https://h/TCI.tif?sig=2"], "{stem}-{hash}") == ids[2]


def test_an_origin_is_absolute_and_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert origin_of(["a/../b.tif", f"file://{tmp_path}/b.tif"]) == (f"{tmp_path}/b.tif",) * 2
    signed = "https://me:word@host/a.tif?X-Amz-Signature=s3cret&X-Amz-Date=1"
    assert origin_of([signed]) == ("https://host/a.tif",) == origin_of([signed.replace("s3cret", "other")])
    seventh = origin_of(["https://host/get?id=7&token=s3cret"])
    assert seventh != origin_of(["https://host/get?id=8&token=s3cret"])
    assert seventh == origin_of(["https://host/get?id=7&token=another"])
    assert "s3cret" not in seventh[0]
