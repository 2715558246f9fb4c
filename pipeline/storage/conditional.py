"""Small files that several processes change at once: of two who try, one is told that the other was faster.

Object stores decide it themselves (``If-None-Match``, ``If-Match``, generations), through obstore: fsspec offers
half of that. On a local disk a lock beside the file makes reading, comparing and renaming one step.

A fault of the network may hide whether a write arrived. So a write that is refused after such a fault is looked at: if
what lies there is what was written, it was ours. Put something of your own, as a token, into what two may write.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import GCSStore

from pipeline.errors import redacted
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import attempt, files_under, remote, translated
from pipeline.storage.files import write_file
from pipeline.storage.object_stores import object_store
from pipeline.storage.paths import local_path

_T = TypeVar("_T")
LOCK = ".lock"
"""File in a local folder that who changes one of its files holds; it stays."""
LISTED_AT_ONCE = 1000
"""Objects of one answer: the most that S3 gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioned:
    """A file as it was read, and by what its store tells this state of it from others."""

    content: bytes
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file of a listing."""

    name: str
    """Relative to what was listed."""
    bytes: int
    version: str
    """Changes when the file does. To be compared with that of another listing: where stores list other marks than they
    answer with (GCS), it is not that of :func:`read_versioned`."""
    modified: datetime
    """UTC, by the clock of the store."""


def read_versioned(uri: str, patience: Patience = PATIENCE) -> Versioned | None:
    """A whole file and its version; None when it is not there. Raises StorageError when it cannot be read."""
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot read {uri}"):
            try:
                with path.open("rb") as file:
                    status = os.fstat(file.fileno())
                    return Versioned(content=file.read(), version=_mark(status))
            except FileNotFoundError:
                return None
    store, key = object_store(uri)

    def whole() -> Versioned | None:
        try:
            answer = obstore.get(store, key)
            return Versioned(content=bytes(answer.bytes()), version=_version(store, answer.meta))
        except FileNotFoundError:
            return None

    return _attempt(f"cannot read {redacted(uri)}", whole, patience)


def create_if_absent(uri: str, content: bytes, patience: Patience = PATIENCE) -> str | None:
    """Write a file that is not there yet: its version, or None when something is there. Raises StorageError."""
    path = local_path(uri)
    if path is None:
        return _put(uri, content, "create", patience)
    with translated(f"cannot write {uri}"), _locked(path.parent):
        return None if path.exists() else _written(path, content, None)


def replace_if_unchanged(uri: str, content: bytes, version: str, patience: Patience = PATIENCE) -> str | None:
    """Write a file in place of its state ``version``: the new version, or None when it has changed or gone.

    Raises StorageError.
    """
    path = local_path(uri)
    if path is None:
        return _put(uri, content, version, patience)
    with translated(f"cannot write {uri}"), _locked(path.parent):
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return _written(path, content, status) if _mark(status) == version else None


def exchange(uri: str, content: bytes, version: str | None) -> str | None:
    """Put ``content`` in the place of what was read there, of this ``version``, or of nothing (None); the new version.

    None when somebody was faster. Raises StorageError.
    """
    return create_if_absent(uri, content) if version is None else replace_if_unchanged(uri, content, version)


def list_objects(
    prefix_uri: str, patience: Patience = PATIENCE, *, reading: bool = False, pays: bool = False
) -> Iterator[Listed]:  # fmt: skip
    """Every file under a folder, at any depth, but hidden ones; nothing when there is no such folder.

    ``reading``, ``pays``: see :func:`pipeline.storage.object_stores.object_store`. Raises StorageError. A listing that
    breaks off is begun again, and what was told is not told twice.
    """
    path = local_path(prefix_uri)
    if path is not None:
        with translated(f"cannot list {prefix_uri}"):
            yield from _walk(path, "")
        return
    store, prefix = object_store(prefix_uri, reading=reading, pays=pays)
    above = f"{prefix}/" if prefix else ""
    pages = _Pages(store, above, partial(_odd_pages, prefix_uri, above, reading=reading, pays=pays))
    while page := _attempt(f"cannot list {redacted(prefix_uri)}", pages.next, patience):
        for entry in page:
            name = entry["path"].removeprefix(above)
            marks_the_folder = entry["path"] == prefix  # whose final slash is lost here
            if not marks_the_folder and not any(part.startswith(".") for part in name.split("/")):
                version = str(entry["e_tag"] or entry["version"] or entry["last_modified"])
                yield Listed(name=name, bytes=entry["size"], version=version, modified=entry["last_modified"])


class _Pages:
    """A listing, page by page; after a fault it goes on behind the last name that was told."""

    def __init__(self, store: Any, above: str, odd: Callable[[str], Iterator[Any]]) -> None:
        """``above``: what names begin with. ``odd``: the pages behind a name, for stores with names that obstore takes
        for none."""
        self._store, self._above, self._odd = store, above, odd
        self._last: str | None = None
        self._stream: Iterator[Any] | None = None

    def next(self) -> list[Any]:
        """The next objects in the order of their names; none at the end."""
        try:
            if self._stream is None:
                found = obstore.list(self._store, self._above, offset=self._last, chunk_size=LISTED_AT_ONCE)
                self._stream = iter(found)
            try:
                page = list(next(self._stream, ()))
            except InvalidPathError:
                self._stream = self._odd(self._last or "")
                page = list(next(self._stream, ()))
        except Exception:
            self._stream = None
            raise
        self._last = page[-1]["path"] if page else self._last
        return page


def _odd_pages(uri: str, above: str, last: str, *, reading: bool, pays: bool) -> Iterator[list[Any]]:
    """What lies under a folder behind the name ``last``, as obstore tells it. S3 takes keys such as ``a//b`` and
    ``a/../b``, and obstore does not: one of them would cost the whole listing. fsspec's holds all names at once."""
    fs, folder = remote(uri, reading=reading, pays=pays)
    entries = (
        {"path": above + name, "size": entry["size"], "e_tag": entry.get("ETag"), "version": None,
         "last_modified": entry["LastModified"]}
        for name, entry in files_under(fs, folder)
    )  # fmt: skip
    behind = (entry for entry in entries if entry["path"] > last)
    while page := list(islice(behind, LISTED_AT_ONCE)):
        yield page


def _put(uri: str, content: bytes, mode: str, patience: Patience) -> str | None:
    """``mode``: "create", or the version to replace."""
    store, key = object_store(uri)
    condition: Any = mode if mode == "create" else _condition(store, mode)
    tries = 0

    def put() -> str | None:
        nonlocal tries
        tries += 1
        try:
            # In parts, the condition would be lost.
            return _version(store, obstore.put(store, key, content, mode=condition, use_multipart=False))
        except (AlreadyExistsError, PreconditionError):
            pass
        except FileNotFoundError:  # S3's answer where there is nothing to compare with; or there is no such bucket
            if mode == "create":
                raise
            return None
        there = read_versioned(uri, patience) if tries > 1 else None
        return there.version if there is not None and there.content == content else None

    return _attempt(f"cannot write {redacted(uri)}", put, patience)


def _attempt(what: str, action: Callable[[], _T], patience: Patience) -> _T:
    """See :func:`attempt`; refusals that another try does not change are no longer tried."""

    def known() -> _T:
        try:
            return action()
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PermissionError("access is denied; check the credentials and what they may do there") from error
        except FileNotFoundError as error:
            raise FileNotFoundError("there is no such bucket or container") from error

    return attempt(what, known, patience=patience)


def _version(store: Any, answer: Any) -> str:
    """GCS compares generations, the others entity tags."""
    mark = answer["version"] if isinstance(store, GCSStore) else answer["e_tag"]
    return str(mark or answer["e_tag"])


def _condition(store: Any, version: str) -> dict[str, str]:
    return {"version": version} if isinstance(store, GCSStore) else {"e_tag": version}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Inside, this thread alone changes files of a local folder, which is made where it is not."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mark(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _written(path: Path, content: bytes, before: os.stat_result | None) -> str:
    """Write under the lock; the version. It differs from the one ``before``, however coarse or wrong the clock is."""
    write_file(str(path), content)
    for step_ns in (1, 10**3, 10**6, 10**9, 2 * 10**9):
        status = path.stat()
        if before is None or status.st_mtime_ns > before.st_mtime_ns:
            break
        os.utime(path, ns=(status.st_atime_ns, before.st_mtime_ns + step_ns))
    return _mark(path.stat())


def _walk(folder: Path, above: str, inside: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Listed]:
    """``inside``: devices and inodes of the folders on the way here, into which a link may lead back."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    here = (status.st_dev, status.st_ino)
    if here in inside:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{above}{entry.name}/", inside | {here})
            continue
        try:
            status = entry.stat()
        except FileNotFoundError:  # it has gone meanwhile
            continue
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        yield Listed(name=above + entry.name, bytes=status.st_size, version=_mark(status), modified=modified)
