"""What lies where, for people who name a folder or a pattern and not each file: local disks and stores."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from fsspec.utils import glob_translate

from pipeline.errors import ConfigError, StorageError, redacted
from pipeline.names import shown
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import attempt, remote, translated
from pipeline.storage.paths import local_path

EVERYWHERE = "**"
"""What stands for any number of folders, none too, in a pattern."""


def is_pattern(uri: str) -> bool:
    """Whether ``uri`` holds what a glob is made of: ``*``, ``[``, and in local names ``?``, which in an address begins
    a query. Addresses of web servers are no patterns, for nobody lists those."""
    if uri.lower().startswith(("http://", "https://")):
        return False
    return re.search(r"[*\[]" if "://" in uri else r"[*?\[]", uri) is not None


def fixed_part(pattern: str) -> tuple[str, str]:
    """A pattern → the folder before its first part that is one, and the rest: ``a/b/*/c.tif`` → ``a/b``, ``*/c.tif``.

    Raises ConfigError for an address whose bucket is a pattern.
    """
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if is_pattern(part))
    if "://" in pattern and first < len(("scheme:", "", "bucket")):
        raise ConfigError(f"{shown(pattern)}: buckets cannot be listed; write the bucket's name out")
    base = "/".join(parts[:first])
    return (base or ("/" if pattern.startswith("/") else "."), "/".join(parts[first:]))


def kind_of(uri: str, patience: Patience = PATIENCE, *, pays: bool = False) -> Literal["file", "folder"] | None:
    """What lies at ``uri``; None for nothing, and for a name that no file can have. ``pays``: who asks does, here and
    below, as of scenes (``raster.requester_pays``). Raises StorageError."""
    path = local_path(uri)
    if path is not None:
        try:
            return "folder" if path.is_dir() else "file" if path.exists() else None
        except (OSError, ValueError):
            return None
    fs, root = remote(uri, reading=True, pays=pays)

    def kind() -> Literal["file", "folder"] | None:
        try:
            return "folder" if fs.info(root)["type"] == "directory" else "file"
        except FileNotFoundError:
            return None

    return attempt(f"cannot look for {redacted(uri)}", kind, patience=patience)


def files_below(uri: str, patience: Patience = PATIENCE, *, pays: bool = False) -> list[str]:
    """Names of all files in a folder and the folders in it, relative to it, parted by ``/``, in the order of their
    letters; hidden folders are named and not looked into. Empty where there is none. Raises StorageError."""
    return sorted(name for name, folder in _entries(uri, None, "", patience, pays).items() if not folder)


def files_matching(base: str, pattern: str, patience: Patience = PATIENCE, *, pays: bool = False) -> list[str]:
    """As :func:`files_below`, of the files in the folder ``base`` whose relative name matches ``pattern``, and of those
    in the folders that do: ``2024-*`` finds what lies in ``2024-06``. ``**`` stands for any number of folders.

    Raises ConfigError for no pattern, StorageError.
    """
    try:
        fits = re.compile(glob_translate(pattern.rstrip("/")))
    except (ValueError, re.error) as error:
        raise ConfigError(f"{shown(pattern)} is no pattern ({error}); ** must stand alone between two /") from error
    deep = None if EVERYWHERE in pattern.split("/") else pattern.rstrip("/").count("/") + 1
    stem = re.split(r"[*?\[]", pattern, maxsplit=1)[0].split("/")[0]
    entries = _entries(base, deep, stem, patience, pays)
    folders = [name for name, folder in entries.items() if folder and fits.match(name)]
    found = {name for name, folder in entries.items() if not folder and fits.match(name) and not pattern.endswith("/")}
    if deep is None:
        inside = tuple(f"{folder}/" for folder in folders)
        found |= {name for name, folder in entries.items() if not folder and name.startswith(inside)}
    else:
        found |= {
            f"{folder}/{name}" for folder in folders for name in files_below(f"{base}/{folder}", patience, pays=pays)
        }
    return sorted(found)


def _entries(uri: str, deep: int | None, stem: str, patience: Patience, pays: bool) -> Mapping[str, bool]:
    """Relative name → whether it is a folder, of what lies at most ``deep`` levels below ``uri`` (None: at any).

    A store is asked for names that begin with ``stem`` alone, which others may ignore.
    """
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot list {uri}"):
            return dict(_walked(path, "", deep)) if path.is_dir() else {}
    fs, root = remote(uri, reading=True, pays=pays)
    options = {"prefix": stem} if stem else {}

    def listing() -> dict[str, bool]:
        try:
            found = fs.find(root, maxdepth=deep, withdirs=True, detail=True, **options)
        except FileNotFoundError:
            return {}
        inside = f"{root}/"
        named = {name: entry["type"] == "directory" for name, entry in found.items() if name.startswith(inside)}
        return {name.removeprefix(inside): folder for name, folder in named.items() if not name.endswith("/")}

    return attempt(f"cannot list {redacted(uri)}", listing, patience=patience)


def _walked(folder: Path, before: str, deep: int | None) -> Iterator[tuple[str, bool]]:
    """Entries of a local folder and those in it. Folders that are links are followed no further: they may lead back."""
    for entry in os.scandir(folder):
        name = f"{before}{entry.name}"
        inside = entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        yield name, inside
        if inside and deep != 1:
            yield from _walked(Path(entry.path), f"{name}/", None if deep is None else deep - 1)


LARGEST_LIST = 100_000_000
"""Bytes of a list of scenes."""


def read_lines(uri: str, patience: Patience = PATIENCE, *, pays: bool = False) -> list[str]:
    """Lines of a text (UTF-8, with or without a mark of it), without their ends. Raises ConfigError for what is none,
    StorageError when the store fails."""
    name = shown(uri)
    try:
        data = _begun(uri, patience, pays)
    except OSError as error:
        cause = error.__cause__ if isinstance(error, StorageError) else error
        if not isinstance(cause, FileNotFoundError | IsADirectoryError | NotADirectoryError):
            raise
        raise ConfigError(f"there is no list of scenes at {name}; check the address after the @") from error
    if len(data) > LARGEST_LIST:
        raise ConfigError(f"{name} has more than {LARGEST_LIST / 1e6:.0f} MB, so it is no list of scenes")
    try:
        return [line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is no list of scenes, which is UTF-8 text with one address a line") from error


def _begun(uri: str, patience: Patience, pays: bool) -> bytes:
    """The first bytes of a file, one more than LARGEST_LIST at most."""
    path, what = local_path(uri), f"cannot read the list of scenes {shown(uri)}"
    if path is not None:
        with translated(what), path.open("rb") as file:
            return file.read(LARGEST_LIST + 1)
    fs, target = remote(uri, reading=True, pays=pays)

    def begun() -> bytes:
        with fs.open(target, "rb") as file:
            data: bytes = file.read(LARGEST_LIST + 1)
        return data

    return attempt(what, begun, patience=patience)
