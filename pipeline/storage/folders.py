"""Folders of results, wherever they lie: local disks and any address fsspec knows.

A result appears whole or not at all, and ``manifest.json``, which names every file of it with its size and SHA-256,
comes last: without a manifest there is no result. On a local disk it is staged in a hidden folder beside its place and
swapped in by one system call; on an object store file after file is uploaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import redacted
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import attempt, remote, translated
from pipeline.storage.paths import local_path

MANIFEST = "manifest.json"
"""The last file of a result to appear, ``{"files": {name: {"bytes": int, "sha256": hex}}}``."""
WORK = "_work"
"""Folder inside a result that is no part of it: what is kept there outlives the publishing of a new result."""


def check_writable(out_uri: str, patience: Patience = PATIENCE) -> None:
    """Prove, before any work is done, that results can be written to ``out_uri``; leaves nothing behind.

    Raises StorageError when they cannot.
    """
    folder = local_path(out_uri)
    if folder is None:
        fs, root = remote(out_uri)
        probe = f"{root}/.kestrel-{uuid.uuid4().hex}"
        attempt(f"cannot write to {redacted(out_uri)}", fs.pipe_file, probe, b"kestrel", patience=patience)
        attempt(f"cannot delete in {redacted(out_uri)}", fs.rm_file, probe, patience=patience)
        return
    with translated(f"cannot write to {out_uri}"):
        existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass


@contextmanager
def staging_folder(out_uri: str, name: str) -> Iterator[Path]:
    """A local folder to fill with the result ``name`` before :func:`publish_folder`; gone afterwards, come what may.

    For a local ``out_uri`` it is a hidden sibling of the result, on the same file system, so that publishing is a
    rename; what killed runs left there is swept away first. An OSError inside (a full disk) becomes a StorageError.
    """
    out = local_path(out_uri)
    with translated(f"cannot write results of {name} to {redacted(out_uri)}"):
        if out is None:
            parent = Path(tempfile.gettempdir())
        else:
            parent = out
            parent.mkdir(parents=True, exist_ok=True)
            _sweep(parent, name)
        staged = parent / f".{name}.staging-{uuid.uuid4().hex}"
        staged.mkdir()
        # The lock lives as long as this process: it tells the sweep of another run that somebody works here.
        lock = os.open(staged, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems know no locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)
            os.close(lock)


def publish_folder(staged: Path, out_uri: str, name: str, *, whole: bool = True, patience: Patience = PATIENCE) -> str:
    """Make the files of ``staged`` the result ``name`` in ``out_uri``, replacing an earlier one; returns its address.

    What is not ``whole`` is the report of a failure: it gets no manifest, so nobody takes it for a result.

    Local: after a sync, old and new change places in one step; whatever happens, a reader sees one of them whole.
    Object stores: the old manifest goes, data is uploaded, stale files go, the new manifest comes last.
    Raises StorageError; then the earlier local result is untouched, but for one case: where only the last step fails,
    to sync ``out_uri`` itself, the new result is in its place already, whole, and a power cut may still undo the swap.
    """
    out = local_path(out_uri)
    if out is None:
        return _upload(staged, out_uri, name, whole, patience)
    with translated(f"cannot publish {name} to {out_uri}"):
        if whole:
            (staged / MANIFEST).write_bytes(_manifest(staged))
        _carry_over(out / name / WORK, staged / WORK)
    return swap_in(staged, out, name)


def swap_in(staged: Path, out: Path, name: str) -> str:
    """A staged folder takes its place, or changes places with what was there; returns the place.

    Raises StorageError, also where it has its place and only the sync of ``out`` after that fails.
    """
    target = out / name
    with translated(f"cannot publish {name} to {out}"):
        for path in [*sorted(path for path in staged.rglob("*") if path.parent.name != WORK), staged]:
            _sync(path)  # parts were synced when they were written
        if target.exists():
            _exchange(staged, target)
        else:
            staged.rename(target)
        _sync(out)
    return str(target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(first: Path, second: Path) -> None:
    """Two folders change places: atomically with Linux's renameat2, else by renames that a crash can fall between."""
    at_cwd, exchange = -100, 2
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None and renameat2(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange) == 0:
        return
    aside = first.with_name(first.name + "-old")
    second.rename(aside)
    try:
        first.rename(second)
    except OSError:
        aside.rename(second)
        raise
    aside.rename(first)


def _sweep(parent: Path, name: str) -> None:
    """Remove the staging folders of ``name`` whose process is gone: those that nobody holds the lock of."""
    for folder in parent.glob(f".{name}.staging-*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _carry_over(work: Path, to: Path) -> None:
    """The files of ``work`` in ``to`` as well, by hard links where the file system has them."""
    if not work.is_dir():
        return
    to.mkdir()
    for file in work.iterdir():
        if file.name.startswith(".") or not file.is_file():
            continue
        try:
            os.link(file, to / file.name)
        except OSError:
            shutil.copy2(file, to / file.name)


def _manifest(staged: Path) -> bytes:
    entries = {}
    for path in sorted(path for path in staged.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        entries[path.relative_to(staged).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return json.dumps({"files": entries}, indent=1, sort_keys=True).encode()


def _upload(staged: Path, out_uri: str, name: str, whole: bool, patience: Patience) -> str:
    fs, root = remote(out_uri)
    target, what = f"{root}/{name}", f"cannot publish {name} to {redacted(out_uri)}"
    manifest, content = f"{target}/{MANIFEST}", _manifest(staged)
    if attempt(what, fs.exists, manifest, patience=patience):
        attempt(what, fs.rm_file, manifest, patience=patience)
    names = list(json.loads(content)["files"])
    for relative in names:
        attempt(what, fs.put_file, str(staged / relative), f"{target}/{relative}", patience=patience)
    kept = {f"{target}/{relative}" for relative in names}
    for stale in sorted(set(attempt(what, fs.find, target, patience=patience)) - kept):
        if not stale.startswith(f"{target}/{WORK}/"):
            attempt(what, fs.rm_file, stale, patience=patience)
    if whole:
        attempt(what, fs.pipe_file, manifest, content, patience=patience)
    return f"{out_uri.rstrip('/')}/{name}"
