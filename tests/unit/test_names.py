"""Names that lead GDAL elsewhere, break a sentence, or leave the folder of results."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RasterConfig, RunConfig
from pipeline.detectors.weights import resolve_weights
from pipeline.errors import ConfigError, ModelError, SceneError
from pipeline.names import LONGEST, complaint, listed, near_names, public_uri, quoted, shown, told
from pipeline.raster.addresses import scene_id_of, split_uris
from pipeline.raster.scene import open_scene
from pipeline.runs.run import check_run
from tests.support.scenes import (
    picture,
    write_geotiff,
)

VIRTUAL = [
    "/vsicurl/http://127.0.0.1:9/a.tif",
    "//vsicurl/http://127.0.0.1:9/a.tif",
    "/./vsizip//data/x.zip/a.tif",
    "file:///vsicurl/http://127.0.0.1:9/a.tif",
    "file:///%76sizip/data/x.zip/a.tif",
    "/vsisubfile/0_10,/etc/passwd",
    "/vsistdin/",
    "/VSIMEM/x.tif",
]
HOSTILE = [
    *VIRTUAL,
    "GTIFF_DIR:1:/etc/passwd",
    "VRT:/etc/passwd",
    "vrt:///etc/passwd?bands=1",
    "PG:host=127.0.0.1 port=9 dbname=secrets",
    '<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>' * 20,
    "a\nb.tif",
    "a\0b.tif",
    "\x1b[2Jscene.tif",
    "a\u2028b.tif",
    "a\ud800b.tif",
    "x" * 300,
    "x" * (LONGEST + 1),
    "~nobody-by-this-name/x.tif",
    "http://[bad/x.tif",
    "/dev/zero",
    "/dev/stdin",
    "zip+file:///x.zip!a.tif",
]


def one_sentence(error: BaseException) -> bool:
    text = str(error)
    return text.isprintable() and 0 < len(text) < 500


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_scene_name_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(SceneError) as caught:
        open_scene(name, RasterConfig())
    assert one_sentence(caught.value), str(caught.value)


@pytest.mark.parametrize("name", VIRTUAL)
def test_virtual_names_are_refused_as_such_before_gdal_sees_them(name: str) -> None:
    with pytest.raises(SceneError, match=r"virtual files|no such file"):
        open_scene(name, RasterConfig())


def test_a_virtual_name_is_read_where_it_is_allowed(tmp_path: Path) -> None:
    """And the file inside is still judged: an archive may hold a VRT."""
    import zipfile

    path = write_geotiff(tmp_path / "scene.tif", picture(20, 30))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(path, "scene.tif")
        archive.writestr("evil.tif", '<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    name = f"/vsizip/{tmp_path}/x.zip/"
    with pytest.raises(SceneError, match="allow_vsi true"):
        open_scene(name + "scene.tif", RasterConfig())
    allowed = RasterConfig(allow_vsi=True)
    assert open_scene(name + "scene.tif", allowed).width == 30
    with pytest.raises(SceneError):
        open_scene(name + "evil.tif", allowed)
    with pytest.raises(SceneError, match=r"U\+000A"):
        open_scene(name + "a\nb.tif", allowed)


def test_a_driver_prefix_is_part_of_the_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that exists under such a name is that file, and not what GDAL would make of it."""

    monkeypatch.chdir(tmp_path)
    write_geotiff(tmp_path / "other.tif", picture(40, 50))
    (tmp_path / "GTIFF_DIR:1:other.tif").write_bytes(write_geotiff(tmp_path / "a.tif", picture(20, 30)).read_bytes())
    assert open_scene("GTIFF_DIR:1:other.tif", RasterConfig()).width == 30


def test_a_file_address_may_be_written_with_percent_signs(tmp_path: Path) -> None:

    write_geotiff(tmp_path / "port of call.tif", picture(20, 30))
    assert open_scene(f"file://{tmp_path}/port%20of%20call.tif", RasterConfig()).width == 30


@pytest.mark.parametrize("name", [*VIRTUAL[:4], "a\nb", "a\0b", "x" * (LONGEST + 1), "http://[bad", "x" * 300])
def test_hostile_names_of_weights_are_refused(name: str) -> None:
    def fetch(uri: str) -> Path:
        raise AssertionError(f"{uri} was fetched")

    with pytest.raises(ModelError) as caught:
        resolve_weights(name, fetch)
    assert one_sentence(caught.value)


@pytest.mark.parametrize("name", ["a\nb", "/vsis3/bucket/x", "a\0b"])
def test_hostile_names_of_the_output_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--out") as caught:
        check_run(RunConfig(scene=("a.tif",), out=name))
    assert one_sentence(caught.value)


PARTS = ["..", ".", "", "a", "_work", ".staging", "CON", "é", "e\u0301", "x" * 300]
SCHEMES = st.sampled_from(["http", "s3", "file", ""])
names = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="./\\_-~%:aé\u0301\0\n", max_size=60),
    st.lists(st.sampled_from(PARTS), max_size=8).map("/".join),
    st.builds("{}://{}/{}".format, SCHEMES, st.text(max_size=20), st.text(max_size=90)),
)


@given(st.lists(names, min_size=1, max_size=3))
def test_any_names_make_one_safe_component_of_a_path(uris: list[str]) -> None:
    """Never empty, hidden, long, nor anything but itself inside the folder of results."""
    scene_id = scene_id_of(uris)
    assert 1 <= len(scene_id.encode()) <= 120
    assert scene_id.isascii()
    assert not scene_id.startswith((".", "_"))
    out = Path("/somewhere/out")
    assert (out / scene_id).resolve().parent == out
    assert Path(scene_id).name == scene_id


@given(names)
def test_composed_and_decomposed_letters_never_share_a_folder_unseen(uri: str) -> None:
    """What a file system may take for one name is one id, or two ASCII ids that no file system mixes up."""
    for form in ("NFC", "NFD"):
        assert scene_id_of([unicodedata.normalize(form, uri)]).isascii()


@given(names)
def test_judging_a_name_never_fails(uri: str) -> None:
    complaint(uri)
    assert shown(uri).isprintable()
    assert len(shown(uri)) <= 200
    if uri.replace(",", "").strip():
        assert split_uris(uri)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/x.tif", "b/x.tif"), ("x.tif", "x.jp2"), ("a b.tif", "a_b.tif"), ("x.tif", "x.tif"), ("A.tif", "a.tif"),
     ("../x.tif", "/x.tif"), ("é.tif", "e\u0301.tif"), ("x..tif", "x.tif")],
)  # fmt: skip
def test_two_scenes_of_one_id_are_refused(first: str, second: str) -> None:
    with pytest.raises(ConfigError, match="would both be written to"):
        check_run(RunConfig(scene=(first, second), out="out"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("detct", ["detect"]),
        ("Detect", ["detect"]),
        ("trian", ["train"]),
        ("make_scene", ["make-scene"]),
        ("makescene", ["make-scene"]),
        ("evalaute", ["evaluate"]),
        ("scene", ["make-scene"]),
        ("predict", []),
        ("x", []),
        ("", []),
    ],
)
def test_only_what_is_near_is_proposed(name: str, meant: list[str]) -> None:
    assert near_names(name, ["detect", "train", "evaluate", "make-scene", "demo"]) == meant


@pytest.mark.parametrize("value", ["x" * 500, "\n" * 500, "\u2028" * 90, ["y" * 500], {"z" * 500: 1}, None, 10**400])
def test_what_a_file_said_is_quoted_in_bounded_length_on_one_line(value: object) -> None:
    for said in (quoted(value), listed([value])):
        assert said.isprintable()
        assert len(said) <= 60 + len("\\x2028") + 2
    assert len(told(KeyError("k" * 500))) < 80
    assert len(told(ValueError("k" * 5000))) < 220


def test_short_names_are_quoted_whole() -> None:
    assert (quoted("ship"), quoted(7), quoted("é" * 60)) == ("'ship'", "7", f"'{'é' * 60}'")
    assert listed(["ship", "boat"]) == "ship, boat"
    assert listed(range(11)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    assert listed(range(100)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 90 more"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:word@host:8443/a/b.tif?sig=secret#x", "https://host:8443/a/b.tif"),
        ("s3://bucket/key.tif", "s3://bucket/key.tif"),
        ("/local/a?b.tif", "/local/a?b.tif"),
    ],
)
def test_messages_and_records_show_no_credentials(uri: str, shown: str) -> None:
    assert public_uri(uri) == shown
