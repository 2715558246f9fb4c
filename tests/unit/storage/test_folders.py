"""Staging and publishing on the local disk and on fsspec's in-memory store."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import StorageError
from pipeline.storage.folders import MANIFEST, WORK, check_writable, publish_folder, staging_folder
from tests.support.folders import names


def publish(out: str, files: dict[str, str], name: str = "scene") -> str:
    with staging_folder(out, name) as staged:
        for file, text in files.items():
            (staged / file).parent.mkdir(parents=True, exist_ok=True)
            (staged / file).write_text(text)
        return publish_folder(staged, out, name)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_published_folder_holds_the_files_and_nothing_hidden_stays(scheme: str, tmp_path: Path) -> None:
    where = publish(f"{scheme}{tmp_path}/deep/out", {"a.txt": "1", "sub/b.txt": "2"})
    assert Path(where) == tmp_path / "deep/out/scene"
    assert (tmp_path / "deep/out/scene/sub/b.txt").read_text() == "2"
    assert names(tmp_path / "deep/out") == ["scene"]


def test_a_result_can_be_read_by_others(tmp_path: Path) -> None:
    """The folder has the permissions of any new folder, not those of a private temporary one."""
    publish(str(tmp_path), {"a": ""})
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE((tmp_path / "scene").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_new_result_replaces_the_old_one_whole(tmp_path: Path) -> None:
    publish(str(tmp_path), {"old.txt": "old", "both.txt": "old"})
    publish(str(tmp_path), {"both.txt": "new"})
    assert names(tmp_path / "scene") == ["both.txt", MANIFEST]
    assert (tmp_path / "scene/both.txt").read_text() == "new"
    assert names(tmp_path) == ["scene"]


def test_the_manifest_names_every_file_with_its_checksum(tmp_path: Path) -> None:
    publish(str(tmp_path), {"a.txt": "new", "sub/b.txt": ""})
    manifest = json.loads((tmp_path / "scene" / MANIFEST).read_text())
    assert manifest["files"]["a.txt"] == {"bytes": 3, "sha256": hashlib.sha256(b"new").hexdigest()}
    assert set(manifest["files"]) == {"a.txt", "sub/b.txt"}


def test_kept_work_outlives_a_new_result(tmp_path: Path) -> None:
    """Local: the folder is swapped whole, and the parts in it are in the new one too; half-written ones are not."""
    work = tmp_path / "scene" / "_work"
    work.mkdir(parents=True)
    (work / "part.parquet").write_text("1")
    (work / ".x.part").write_text("half")
    for text in ("old", "new"):
        publish(str(tmp_path), {"a": text})
        assert names(work) == ["part.parquet"]
    assert (work / "part.parquet").read_text() == "1"


def test_readers_see_one_whole_result_while_results_change_places(tmp_path: Path) -> None:
    """A reader that looks all the time finds the folder at every look: the swap is one step."""
    publish(str(tmp_path), {"a": "0"})
    missing, stop = [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            if not (tmp_path / "scene").exists():
                missing.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(40):
        publish(str(tmp_path), {"a": str(number)})
    stop.set()
    reader.join()
    assert not missing


def test_without_the_kernels_exchange_a_failed_swap_restores_the_old_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    publish(str(tmp_path), {"a": "old"})
    publish(str(tmp_path), {"a": "new"})
    assert (tmp_path / "scene/a").read_text() == "new"
    assert names(tmp_path) == ["scene"]
    rename = Path.rename

    def no_staged_rename(path: Path, target: Path) -> Path:
        if target.name == "scene" and not path.name.endswith("-old"):
            raise OSError(errno.ENOSPC, "no space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", no_staged_rename)
    with pytest.raises(StorageError):
        publish(str(tmp_path), {"a": "newer"})
    assert (tmp_path / "scene/a").read_text() == "new"


@pytest.fixture(params=[errno.EPERM, errno.EIO, errno.EMFILE, errno.ENOSYS], ids=errno.errorcode.get)
def poor_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that knows files and their renaming alone, in the words of exFAT, rclone and gcsfuse."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    rename, fsync = Path.rename, os.fsync

    def files_only(path: Path, target: Path) -> Path:
        if path.is_dir():
            refuse()
        return rename(path, target)

    def no_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", no_folders)
    monkeypatch.setattr(Path, "rename", files_only)
    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())


@pytest.mark.usefixtures("poor_disk")
def test_a_result_needs_files_that_are_created_and_renamed_and_nothing_else(tmp_path: Path) -> None:
    work = tmp_path / "scene" / WORK
    publish(str(tmp_path), {"a": "old", "stale": "x", "deep/b": "1"})
    work.mkdir()
    (work / "part.parquet").write_text("1")
    publish(str(tmp_path), {"a": "new", "deep/b": "2"})
    assert names(tmp_path) == ["scene"]
    assert names(tmp_path / "scene") == sorted([WORK, "a", "deep", MANIFEST])
    assert (tmp_path / "scene/a").read_text() == "new"
    assert set(json.loads((tmp_path / "scene" / MANIFEST).read_text())["files"]) == {"a", "deep/b"}
    assert names(work) == ["part.parquet"]


@pytest.mark.usefixtures("poor_disk")
def test_what_a_place_lacks_is_told_with_what_is_weaker_for_it(tmp_path: Path) -> None:
    lacking = " ".join(check_writable(str(tmp_path / "out")))
    for word in ("hard links", "renaming of folders", "locks", "manifest.json"):
        assert word in lacking
    assert names(tmp_path) == []


def test_a_plain_disk_lacks_nothing(tmp_path: Path) -> None:
    assert check_writable(str(tmp_path)) == ()


@pytest.mark.usefixtures("poor_disk")
def test_without_locks_what_was_staged_is_swept_when_it_is_old(tmp_path: Path) -> None:
    for name, age_s in (("new", 60), ("old", 90_000)):
        folder = tmp_path / f".scene.staging-{name}"
        folder.mkdir()
        os.utime(folder, (time.time() - age_s,) * 2)
    publish(str(tmp_path), {"a": "1"})
    assert names(tmp_path) == [".scene.staging-new", "scene"]


@pytest.mark.usefixtures("poor_disk")
def test_the_report_of_a_failure_takes_the_place_of_a_result_file_by_file(tmp_path: Path) -> None:
    publish(str(tmp_path), {"a": "old", "detections": "x"})
    with staging_folder(str(tmp_path), "scene") as staged:
        (staged / "a").write_text("failed")
        publish_folder(staged, str(tmp_path), "scene", whole=False)
    assert names(tmp_path / "scene") == ["a"]


def test_what_fails_once_the_result_has_its_place_denies_it_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync of the folder of results, and the old result that cannot be moved out of the way."""
    publish(str(tmp_path), {"a": "old"})
    fsync, rename = os.fsync, Path.rename

    def fails(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink() == tmp_path:
            raise OSError(errno.ENOSPC, "no space left on device")
        fsync(handle)

    def old_stays(path: Path, target: Path) -> Path:
        if path.name.endswith("-old") and target.name != "scene":
            raise OSError(errno.EIO, "input/output error")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fails)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    monkeypatch.setattr(Path, "rename", old_stays)
    publish(str(tmp_path), {"a": "new"})
    assert (tmp_path / "scene" / "a").read_text() == "new"
    assert set(names(tmp_path / "scene")) == {"a", MANIFEST}
    monkeypatch.undo()
    publish(str(tmp_path), {"a": "newer"})
    assert names(tmp_path) == ["scene"], "the old one is swept"


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with staging_folder(str(tmp_path), "scene") as staged:
            (staged / "half").write_text("x")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert names(tmp_path) == []


def test_what_killed_runs_left_is_swept_but_not_what_others_work_on(tmp_path: Path) -> None:
    (tmp_path / ".scene.staging-dead").mkdir()
    (tmp_path / ".other.staging-dead").mkdir()
    with staging_folder(str(tmp_path), "scene") as mine, staging_folder(str(tmp_path), "scene"):
        assert mine.is_dir()
        assert not (tmp_path / ".scene.staging-dead").exists()
    assert names(tmp_path) == [".other.staging-dead"]


def test_check_writable_leaves_nothing(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    check_writable(str(tmp_path / "not" / "yet"))
    assert names(tmp_path) == []
    check_writable("memory://out")
    assert memory.find("/out") == []


@pytest.mark.parametrize("out", ["/proc/kestrel", "{file}/out"])
def test_an_unwritable_folder_is_one_sentence(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write to") as caught:
        check_writable(out.format(file=tmp_path / "file"))
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    """As root, which may write everywhere, the test steps down to nobody for the question."""
    tmp_path.chmod(0o500)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            check_writable(str(tmp_path))
    finally:
        os.seteuid(was)
        tmp_path.chmod(0o700)


def test_on_an_object_store_the_manifest_comes_last_and_tells_the_truth(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("memory://out", {"stale.txt": "old"})
    order: list[str] = []
    put, pipe, remove = memory.put_file, memory.pipe_file, memory.rm_file
    monkeypatch.setattr(type(memory), "put_file", lambda _, a, b: (order.append(b), put(a, b))[1])
    monkeypatch.setattr(type(memory), "pipe_file", lambda _, a, b: (order.append(a), pipe(a, b))[1])
    monkeypatch.setattr(type(memory), "rm_file", lambda _, a: (order.append("-" + a), remove(a))[1])
    publish("memory://out", {"a.txt": "1", "sub/b.txt": "22"})
    root = "/out/scene"
    assert order == [
        f"-{root}/{MANIFEST}",
        f"{root}/a.txt",
        f"{root}/sub/b.txt",
        f"-{root}/stale.txt",
        f"{root}/{MANIFEST}",
    ]
    manifest = json.loads(memory.cat_file(f"{root}/{MANIFEST}"))
    assert manifest["files"]["sub/b.txt"]["bytes"] == 2
    assert sorted(memory.find("/out")) == [f"{root}/a.txt", f"{root}/{MANIFEST}", f"{root}/sub/b.txt"]
