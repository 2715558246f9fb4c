"""From what people name to one address a scene; listing on a store: tests/integration/object_store."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.reporting.journal import Journal
from pipeline.runs.scene_list import with_scenes_listed


def scenes(*names: object, said: list[str] | None = None) -> list[str]:
    """The scenes of a run that names these."""
    journal = Journal((said if said is not None else []).append)
    return list(with_scenes_listed(RunConfig(scene=tuple(map(str, names))), journal).scene)


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


SIGNED = "https://host/a*[1].tif?X-Amz-Signature=secret&q=?"


@pytest.mark.parametrize(
    "name",
    ["missing.tif", SIGNED, "s3://bucket/a.tif", "B04.jp2,B03.jp2", "/vsizip/x.zip/*.tif", "gs://b/*.tif", "a\n*.tif"],
)
def test_the_name_of_one_scene_stays_as_it_is(name: str) -> None:
    said: list[str] = []
    assert scenes(name, said=said) == [name]
    assert said == []


def test_a_folder_is_its_scenes_and_one_line_counts_the_rest(tmp_path: Path) -> None:
    beside = ("a.tif.ovr", "a.tfw", "b.aux.xml", "README.md", "sub/c_mask.tif", "sub/d_mask.tif", ".x.tif")
    fill(tmp_path, "b.tif", "a.tif", "sub/c.jp2", *beside)
    said: list[str] = []
    assert scenes(tmp_path, said=said) == [f"{tmp_path}/{name}" for name in ("a.tif", "b.tif", "sub/c.jp2")]
    (line,) = said
    assert line == (
        f"3 scenes, of {tmp_path}; left out: files of other formats (1); hidden files (1, as .x.tif); masks (2, as "
        "sub/c_mask.tif); overviews (1, as a.tif.ovr); side-cars and texts (2)"
    )


def test_patterns_find_files_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a1.tif", "a[1].tif", "x/b.tif", "q?.tif", "@list.tif", "c,d.tif", "data,2026/e.tif")
    monkeypatch.chdir(tmp_path)
    assert scenes("a[1].tif", "q?.tif", "@list.tif", "c,d.tif") == ["a[1].tif", "q?.tif", "@list.tif", "c,d.tif"]
    assert scenes("a?.tif") == ["a1.tif"]
    assert scenes("x*") == ["x/b.tif"]
    assert scenes("data,2026/*") == ["data,2026/e.tif"]
    assert scenes("file://" + str(tmp_path / "x")) == [str(tmp_path / "x" / "b.tif")]
    assert "c,d.tif" in scenes(".")


def test_the_order_is_that_of_the_names_given_and_a_scene_found_twice_is_one(tmp_path: Path) -> None:
    fill(tmp_path, "b/1.tif", "b/2.tif", "a.tif")
    said: list[str] = []
    found = scenes(tmp_path / "b", tmp_path / "a.tif", tmp_path / "b" / "1.tif", tmp_path / "b" / "*", said=said)
    assert [Path(one).name for one in found] == ["1.tif", "2.tif", "a.tif"]
    assert "named more than once (3)" in said[0]


def test_the_same_name_given_twice_stays_a_mistake_for_the_run_to_refuse() -> None:
    assert scenes("a.tif", "a.tif") == ["a.tif", "a.tif"]


def test_a_list_names_scenes_from_its_own_folder_on(tmp_path: Path) -> None:
    fill(tmp_path, "d/x.tif", "d/y.tif", "c,d.tif")
    (tmp_path / "list.txt").write_text(
        f"# ours\n\n a.tif \nd/\nB04.jp2,B03.jp2\nc,d.tif\n/abs.tif\n{SIGNED}\ns3://b/k.tif\r\n"
    )
    assert scenes(f"@{tmp_path}/list.txt") == [
        f"{tmp_path}/a.tif", f"{tmp_path}/d/x.tif", f"{tmp_path}/d/y.tif", f"{tmp_path}/B04.jp2,{tmp_path}/B03.jp2",
        f"{tmp_path}/c,d.tif", "/abs.tif", SIGNED, "s3://b/k.tif",
    ]  # fmt: skip


def _list(tmp_path: Path, text: str) -> str:
    (tmp_path / "list.txt").write_text(text)
    return f"@{tmp_path}/list.txt"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("{}/empty", r"there is no scene in .*/empty; what is found"),
        (
            "{}/beside",
            r"there is no scene in .*/beside, only masks \(1, as a_mask.tif\); side-cars and texts \(1\); what",
        ),
        ("{}/bands", r"only bands of one scene, to be joined with commas \(2, as B02.jp2\)"),
        ("{}/*.png", r"there is no scene in .*/\*\.png"),
        ("{}/a**b.tif", r"\*\* must stand alone"),
        ("{}/B4*.jp2,B3.jp2", "name each, without a pattern"),
        ("s3://b/B4*.jp2,s3://b/B3.jp2", "name each, without a pattern"),
        ("s3://buck*/a.tif", "buckets cannot be listed"),
        ("{}/S2A.SAFE", "is a product of many files"),
        ("@{}/missing.txt", "there is no list of scenes at .*missing.txt"),
        ("@{}/empty.txt", "names no scene"),
        ("@{}/nested.txt", "line 2 of .*nested.txt names another list"),
        ("@", "there is no list of scenes"),
    ],
)
def test_a_name_without_a_scene_is_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    fill(tmp_path, "beside/a_mask.tif", "beside/a.txt", "bands/B02.jp2", "bands/B03.jp2", "S2A.SAFE/x.jp2")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "nested.txt").write_text("a.tif\n@b.txt\n")
    with pytest.raises(ConfigError, match=sentence) as error:
        scenes(name.format(tmp_path))
    assert "\n" not in str(error.value)


def test_secrets_of_a_list_are_not_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        scenes("@http://user:secret@127.0.0.1:9/list.txt?sig=secret")
    assert "secret" not in str(error.value)
