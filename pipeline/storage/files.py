"""Single small files, on local disks and at any address fsspec knows: whole or not there, and safe to write twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import redacted
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import (
    attempt,
    change_mark,
    entries_in,
    files_under,
    remote,
    remove_there,
    translated,
    whole_file,
)
from pipeline.storage.paths import local_path

UNKNOWN = (errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY)
"""What file systems answer to a call they do not know."""


def write_file(uri: str, data: bytes, patience: Patience = PATIENCE) -> None:
    """Write a file so that a reader sees all of it or none; writing the same again changes nothing.

    Local: written beside its place, synced, renamed. Object stores: one PUT. Raises StorageError.
    """
    path = local_path(uri)
    if path is None:
        fs, target = remote(uri)
        attempt(f"cannot write {redacted(uri)}", fs.pipe_file, target, data, patience=patience)
        return
    with translated(f"cannot write {uri}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _written_beside(path, data)
        try:
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def create_file(uri: str, data: bytes, patience: Patience = PATIENCE) -> bool:
    """Write a file that is not there yet; False when it is. Of several who try at once one succeeds.

    Local: whole at once by a hard link, else in place. Object stores: by a conditional PUT where the store knows one
    (S3 does), else by looking first. Raises StorageError.
    """
    path = local_path(uri)
    if path is None:
        return _create_remote(uri, data, patience)
    with translated(f"cannot write {uri}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _written_beside(path, data)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:  # no hard links here: exFAT, many mounted buckets, some shares
            return _create_alone(path, data)
        finally:
            part.unlink(missing_ok=True)
    return True


def _create_alone(path: Path, data: bytes) -> bool:
    """Create a file in its place, where a reader may see it before it is whole; False when it is there."""
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _create_remote(uri: str, data: bytes, patience: Patience) -> bool:
    fs, target = remote(uri)
    what = f"cannot write {redacted(uri)}"
    if attempt(what, whole_file, fs, target, patience=patience) is not None:
        return False
    try:
        fs.pipe_file(target, data, mode="create")
    except (FileExistsError, NotImplementedError, TypeError, ValueError, OSError):
        # Refused because somebody was faster, because the store knows no condition, or because an answer was lost:
        # what is there now tells which.
        if attempt(what, whole_file, fs, target, patience=patience) is None:
            attempt(what, fs.pipe_file, target, data, patience=patience)
        return bool(attempt(what, whole_file, fs, target, patience=patience) == data)
    return True


def read_file(uri: str, patience: Patience = PATIENCE) -> bytes | None:
    """A whole file; None when it is not there. Raises StorageError when it cannot be read."""
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot read {uri}"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None
    fs, target = remote(uri)
    return attempt(f"cannot read {redacted(uri)}", whole_file, fs, target, patience=patience)


def json_object(content: bytes | None) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file, or something else in it."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def remove_file(uri: str, patience: Patience = PATIENCE) -> None:
    """Remove a file; nothing happens when it is not there. Raises StorageError."""
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot remove {uri}"):
            path.unlink(missing_ok=True)
        return
    fs, target = remote(uri)
    attempt(f"cannot remove {redacted(uri)}", remove_there, fs, target, patience=patience)


def remove_folder(uri: str, patience: Patience = PATIENCE) -> None:
    """Remove a folder with all that is in it; nothing happens when it is not there. Raises StorageError."""
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot remove {uri}"):
            if path.exists():
                shutil.rmtree(path)
        return
    fs, target = remote(uri)
    if attempt(f"cannot look for {redacted(uri)}", fs.exists, target, patience=patience):
        attempt(f"cannot remove {redacted(uri)}", fs.rm, target, recursive=True, patience=patience)


def file_names(uri: str, patience: Patience = PATIENCE, *, folders: bool = False) -> set[str]:
    """Names of the files in a folder, and of ``folders`` when asked; none when there is no such folder.

    Raises StorageError.
    """
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot list {uri}"):
            return {entry.name for entry in os.scandir(path) if folders or entry.is_file()} if path.is_dir() else set()
    fs, target = remote(uri)

    def names() -> set[str]:
        return {name for name, entry in entries_in(fs, target) if folders or entry is not None}

    return attempt(f"cannot list {redacted(uri)}", names, patience=patience)


def file_ages(uri: str, patience: Patience = PATIENCE) -> dict[str, float | None]:
    """Seconds since each file of a folder was written, by the clocks of both sides; None where the store tells no time.

    Raises StorageError.
    """
    path, now = local_path(uri), time.time()
    if path is not None:
        with translated(f"cannot list {uri}"):
            entries = [entry for entry in os.scandir(path) if entry.is_file()] if path.is_dir() else []
            return {entry.name: now - entry.stat().st_mtime for entry in entries}
    fs, target = remote(uri)

    def ages() -> dict[str, float | None]:
        return {name: _age(entry, now) for name, entry in entries_in(fs, target) if entry is not None}

    return attempt(f"cannot list {redacted(uri)}", ages, patience=patience)


def ages_below(uri: str, patience: Patience = PATIENCE) -> dict[str, float | None]:
    """As :func:`file_ages`, of the files in a folder and in those in it, by their names relative to it."""
    path, now = local_path(uri), time.time()
    if path is not None:
        with translated(f"cannot list {uri}"):
            return {name: now - status.st_mtime for name, status in _statuses(path, "")} if path.is_dir() else {}
    fs, target = remote(uri)

    def ages() -> dict[str, float | None]:
        return {name: _age(entry, now) for name, entry in files_under(fs, target)}

    return attempt(f"cannot list {redacted(uri)}", ages, patience=patience)


def _statuses(folder: Path, above: str) -> Iterator[tuple[str, os.stat_result]]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _statuses(Path(entry.path), f"{above}{entry.name}/")
        else:
            yield f"{above}{entry.name}", entry.stat()


def _age(entry: Mapping[str, Any], now: float) -> float | None:
    when = next((entry[key] for key in ("LastModified", "mtime", "updated", "last_modified") if entry.get(key)), None)
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            return None
    if isinstance(when, datetime):
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return now - float(when) if isinstance(when, int | float) else None


def file_version(uri: str, patience: Patience = PATIENCE, *, pays: bool = False) -> str | None:
    """What changes when the file at ``uri`` does: its ETag, or its size and time of change; None when nobody tells.

    Who asks ``pays`` for it, where the store wants that said. Raises StorageError when the store cannot be asked.
    """
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot look at {uri}"):
            status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"
    fs, target = remote(uri, reading=True, pays=pays)
    entry = attempt(f"cannot look at {redacted(uri)}", fs.info, target, patience=patience)
    mark = change_mark(entry)
    return None if mark is None else f"{entry.get('size')} {mark}"


def _written_beside(path: Path, data: bytes) -> Path:
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            with unless_unknown():
                os.fsync(file.fileno())
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return part


@contextmanager
def unless_unknown(*also: int) -> Iterator[None]:
    """Inside, what a file system does not know (or answers with ``also``) is left out; other errors are errors."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*UNKNOWN, *also):
            raise


def sweep_parts(uri: str) -> None:
    """Remove what a killed process left half-written in a local folder. Only for who holds its lease."""
    path = local_path(uri)
    if path is None or not path.is_dir():
        return
    with translated(f"cannot clean {uri}"):
        for part in path.glob(".*.part"):
            part.unlink(missing_ok=True)
