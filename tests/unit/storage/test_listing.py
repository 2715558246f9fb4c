"""Folders and patterns on the local disk; what lies on a store is listed in tests/integration/object_store."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.storage.listing import files_below, files_matching, fixed_part, is_pattern, kind_of, read_lines


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "a.tif",
        "b.txt",
        "2026-06/c.tif",
        "2026-06/deep/d.tif",
        "2026-07/e.tif",
        ".hidden/f.tif",
        "[x]/g.tif",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "2026-07" / "back").symlink_to(tmp_path)
    return tmp_path


def test_all_files_below_a_folder_are_named_once_in_order(tree: Path) -> None:
    assert files_below(str(tree)) == [
        ".hidden", "2026-06/c.tif", "2026-06/deep/d.tif", "2026-07/back", "2026-07/e.tif", "[x]/g.tif", "a.tif",
        "b.txt",
    ]  # fmt: skip
    assert files_below(str(tree / "missing")) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.tif", ["a.tif"]),
        ("*/*.tif", ["2026-06/c.tif", "2026-07/e.tif", "[x]/g.tif"]),
        ("2026-0[67]/?.tif", ["2026-06/c.tif", "2026-07/e.tif"]),
        ("2026-06*", ["2026-06/c.tif", "2026-06/deep/d.tif"]),
        ("**/*.tif", ["2026-06/c.tif", "2026-06/deep/d.tif", "2026-07/e.tif", "[x]/g.tif", "a.tif"]),
        ("2026-06/**", ["2026-06/c.tif", "2026-06/deep/d.tif"]),
        ("*6/", ["2026-06/c.tif", "2026-06/deep/d.tif"]),
        ("*.tif/", []),
        ("*.png", []),
    ],
)
def test_a_pattern_finds_files_and_what_lies_in_folders(tree: Path, pattern: str, found: list[str]) -> None:
    assert files_matching(str(tree), pattern) == found


def test_letters_of_patterns_in_the_folder_before_mean_themselves(tree: Path) -> None:
    assert files_matching(str(tree / "[x]"), "*.tif") == ["g.tif"]


def test_no_pattern_is_refused_in_a_sentence(tree: Path) -> None:
    with pytest.raises(ConfigError, match=r"\*\* must stand alone"):
        files_matching(str(tree), "a**/b.tif")


def test_a_folder_that_may_not_be_listed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.storage.listing.os.scandir", denied)
    with pytest.raises(StorageError, match=r"cannot list .*: Permission denied"):
        files_below(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "whether"),
    [
        ("a*.tif", True), ("a?.tif", True), ("a[1].tif", True), ("a.tif", False), ("s3://b/*.tif", True),
        ("s3://b/a.tif?versionId=1", False), ("https://h/a.tif?sig=*", False), ("HTTP://h/[a]", False),
    ],
)  # fmt: skip
def test_a_query_is_no_pattern(name: str, whether: bool) -> None:
    assert is_pattern(name) is whether


def test_the_part_before_a_pattern() -> None:
    assert fixed_part("a/b*/c.tif") == ("a", "b*/c.tif")
    assert fixed_part("*.tif") == (".", "*.tif")
    assert fixed_part("/*.tif") == ("/", "*.tif")
    assert fixed_part("s3://b/p/*/x.tif") == ("s3://b/p", "*/x.tif")
    with pytest.raises(ConfigError, match="buckets cannot be listed"):
        fixed_part("s3://b*/x.tif")


def test_a_name_no_file_can_have_is_nothing(tree: Path) -> None:
    assert kind_of("x" * 5000) is None
    assert kind_of(str(tree / "a.tif")) == "file"
    assert kind_of(str(tree)) == "folder"


def test_lines_have_no_ends_and_no_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa.tif\r\n\r\n# b\r\nc\xe2\x80\xa8d.tif")
    assert read_lines(str(path)) == ["a.tif", "", "# b", "c\u2028d.tif"]


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "there is no list of scenes at"), (b"II*\0\xff", "UTF-8 text")]
)
def test_what_is_no_list_is_said(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read_lines(str(path))
