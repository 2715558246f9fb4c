"""File systems behind addresses, and what their failures mean. fsspec's only home.

Every call goes through :func:`attempt`: tried again when the fault may pass, and told without secrets.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import fsspec

from pipeline.errors import ConfigError, PipelineError, StorageError, redacted
from pipeline.retrying import PATIENCE, Patience, retried
from pipeline.storage.reaching import client_options, environment_now

_PERMANENT = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ImportError,
)
_T = TypeVar("_T")


def remote(uri: str, *, reading: bool = False, pays: bool = False) -> tuple[Any, str]:
    """The file system of an address, and the path in it; ``reading``: as GDAL reaches it, which reads scenes, where
    who asks ``pays`` for it or not."""
    try:
        # Together: a client that is being made while the environment changes must not outlive the look that saw it.
        with _CLIENTS_LOCK:
            _forget_other_environments(uri.split("://", 1)[0].rsplit("::", 1)[-1])
            options = client_options(uri.split("://", 1)[0].lower(), uri, reading=reading, pays=pays)
            fs, root = fsspec.core.url_to_fs(uri, use_listings_cache=False, **options)
    except (ValueError, ImportError) as error:
        scheme = uri.split("://", 1)[0]
        raise ConfigError(
            f"{redacted(uri)}: no file system for {scheme}:// is installed; see the extras s3, gcs, azure"
        ) from error
    return fs, root.rstrip("/")


_CLIENTS_LOCK = threading.Lock()
"""Held by who looks at ``_made_in`` and at fsspec's file systems: eight threads read and write parts at once."""
_made_in: dict[str, dict[str, str | None]] = {}
"""Scheme → the environment its file systems were made in."""


def _forget_other_environments(scheme: str) -> None:
    """fsspec keeps file systems with the endpoint and the keys they were made with: drop those of another environment.

    Only the environment names endpoints and keys, and what changes there must count. Call it under _CLIENTS_LOCK.
    """
    environment = environment_now()
    if _made_in.setdefault(scheme, environment) != environment:
        fsspec.get_filesystem_class(scheme).clear_instance_cache()
        _made_in[scheme] = environment


def attempt(
    what: str, action: Callable[..., _T], *args: Any, patience: Patience = PATIENCE, **options: Any
) -> _T:  # fmt: skip
    """The call, tried again after a pause when the fault may pass. Raises StorageError, without secrets."""

    def may_pass(error: Exception) -> bool:
        return not isinstance(error, _PERMANENT)

    try:
        return retried(partial(action, *args, **options), may_pass, what, patience)
    except _PERMANENT as error:
        raise StorageError(f"{what}: {reason_of(error)}") from error
    except Exception as error:  # each backend of fsspec raises exceptions of its own library
        raise StorageError(f"{what}, after {patience.attempts} attempts: {reason_of(error)}") from error


def whole_file(fs: Any, path: str) -> bytes | None:
    """What a file of a store holds, in one request; None when it is not there."""
    # s3fs asks for the size first, to read large files in several pieces at once: one more request for each small one.
    options = {"max_concurrency": 1} if "s3" in fs.protocol else {}
    try:
        data: bytes = fs.cat_file(path, **options)
    except FileNotFoundError:
        return None
    return data


def remove_there(fs: Any, path: str) -> None:
    """Remove a file of a store that may not be there, without asking before."""
    with suppress(FileNotFoundError):
        fs.rm_file(path)


def entries_in(fs: Any, folder: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Name and entry of what lies in a folder of a store, None in place of that of a folder; nothing where there is no
    such folder."""
    if "s3" not in fs.protocol or "/" not in folder:
        with suppress(FileNotFoundError):
            for entry in fs.ls(folder, detail=True):
                yield str(entry["name"]).rstrip("/").rsplit("/", 1)[-1], entry if entry["type"] == "file" else None
        return
    seen = set()
    for path, entry in files_under(fs, folder):
        inside, below, _ = path.partition("/")
        if inside not in seen:
            seen.add(inside)
            yield inside, None if below else entry


def files_under(fs: Any, folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name relative to a folder of a store, and entry, of all files in it and in those in it; nothing where there is no
    such folder."""
    above, _, name = folder.rpartition("/")
    # Where nothing lies in a folder, s3fs lists the one above, which may hold thousands of others; with a prefix not.
    where, options = (above, {"prefix": f"{name}/"}) if above and "s3" in fs.protocol else (folder, {})
    with suppress(FileNotFoundError):
        for path, entry in fs.find(where, detail=True, **options).items():
            if path.startswith(f"{folder}/") and not path.endswith("/"):
                yield path.removeprefix(f"{folder}/"), entry


def change_mark(entry: Mapping[str, Any]) -> Any:
    """What changes when the content of a file does, of what its store says of it; None where it says nothing such."""
    return next((entry[key] for key in ("ETag", "Last-Modified", "LastModified", "mtime") if entry.get(key)), None)


def reason_of(error: BaseException) -> str:
    """A short cause: the system's words for its own errors, else the library's without addresses' secrets."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    lines = redacted(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextmanager
def translated(what: str) -> Iterator[None]:
    """OSErrors of the block as StorageErrors, with the remedy for the commonest: a full disk."""
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        remedy = "; free some space or choose another --out" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise StorageError(f"{what}: {reason_of(error)}{remedy}") from error
