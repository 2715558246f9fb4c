"""Single files, whole or not there: on the local disk and on fsspec's in-memory store."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import StorageError
from pipeline.storage.files import (
    create_file,
    file_ages,
    file_names,
    file_version,
    read_file,
    remove_file,
    sweep_parts,
    write_file,
)
from pipeline.storage.paths import join


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "deep" / "folder")
        return
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield "memory://deep/folder"
    fs.store.clear()


def test_a_file_is_written_read_listed_and_removed(folder: str) -> None:
    assert file_names(folder) == set()
    assert read_file(join(folder, "a")) is None
    write_file(join(folder, "a"), b"one")
    write_file(join(folder, "a"), b"two")
    write_file(join(folder, "b"), b"")
    assert read_file(join(folder, "a")) == b"two"
    assert read_file(join(folder, "b")) == b""
    assert file_names(folder) == {"a", "b"}
    remove_file(join(folder, "a"))
    remove_file(join(folder, "a"))
    assert file_names(folder) == {"b"}


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "operation not permitted")


@pytest.mark.parametrize("code", [errno.EPERM, errno.EIO, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK])
def test_a_file_is_created_where_there_are_no_hard_links(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", lambda _: no_sync())
    assert create_file(str(tmp_path / "lease"), b"mine")
    assert not create_file(str(tmp_path / "lease"), b"theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["lease"]
    assert read_file(str(tmp_path / "lease")) == b"mine"


def no_sync() -> None:
    raise OSError(errno.ENOSYS, "function not implemented")


def test_only_the_first_creates(folder: str) -> None:
    assert create_file(join(folder, "lease"), b"mine")
    assert not create_file(join(folder, "lease"), b"theirs")
    assert read_file(join(folder, "lease")) == b"mine"


@pytest.mark.parametrize("links", [True, False])
def test_of_many_that_create_at_once_one_succeeds(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the local disk, where the link decides, or, without links, the creation of the file."""
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait()
        return create_file(str(tmp_path / "lease"), str(number).encode() * 1000)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            won = list(pool.map(create, range(8)))
            assert sum(won) == 1
            assert read_file(str(tmp_path / "lease")) == str(won.index(True)).encode() * 1000
            (tmp_path / "lease").unlink()
    assert list(tmp_path.iterdir()) == [], "nothing half-written stays"


def test_a_version_changes_with_the_file(folder: str) -> None:
    write_file(join(folder, "a"), b"one")
    before = file_version(join(folder, "a"))
    if folder.startswith("memory"):
        assert before is None, "this store tells neither ETag nor time"
        return
    assert file_version(join(folder, "a")) == before
    write_file(join(folder, "a"), b"four")
    assert file_version(join(folder, "a")) != before
    with pytest.raises(StorageError):
        file_version(join(folder, "missing"))


def test_what_was_half_written_is_swept(tmp_path: Path) -> None:
    write_file(str(tmp_path / "part.parquet"), b"x")
    (tmp_path / ".part.parquet.123.part").write_bytes(b"hal")
    sweep_parts(str(tmp_path))
    sweep_parts(str(tmp_path / "missing"))
    assert [path.name for path in tmp_path.iterdir()] == ["part.parquet"]


def test_ages_of_files_are_told_where_the_store_keeps_times(folder: str) -> None:
    assert file_ages(folder) == {}
    write_file(join(folder, "a"), b"one")
    (age,) = file_ages(folder).values()
    assert age is None if folder.startswith("memory") else abs(age or 1e9) < 60
