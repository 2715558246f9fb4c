"""Folders of results, wherever they lie: local disks and any address fsspec knows.

A result appears whole or not at all, and ``manifest.json``, which names every file of it with its size and SHA-256,
comes last: without a manifest there is no result. On a local disk it is staged in a hidden folder beside its place and
swapped in by one system call; on an object store file after file is uploaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import redacted
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import attempt, remote, remove_there, translated
from pipeline.storage.files import unless_unknown
from pipeline.storage.paths import local_path

MANIFEST = "manifest.json"
"""The last file of a result to appear, ``{"files": {name: {"bytes": int, "sha256": hex}}}``."""
WORK = "_work"
"""Folder inside a result that is no part of it: what is kept there outlives the publishing of a new result."""


ABILITIES: dict[str, str] = {
    "link": "hard links: a lease may be seen half-written, and kept parts are copied for every new result",
    "exchange": "folders that change places: for a moment, and after a crash then, there is no result, or the old one "
    "under a hidden name",
    "rename": "the renaming of folders: results are replaced file by file, and whole when they have a manifest.json",
    "lock": "locks: what a killed run has staged is swept away after a day",
}
"""What a file system may lack → what is weaker then, as the end of a sentence."""


def check_writable(out_uri: str, patience: Patience = PATIENCE) -> tuple[str, ...]:
    """Prove, before any work is done, that results can be written to ``out_uri``; leaves nothing behind.

    Files must be created, renamed and removed there; returns what else the place does not know, and what is weaker
    for it, as ends of sentences. Raises StorageError when results cannot be written.
    """
    folder = local_path(out_uri)
    if folder is None:
        fs, root = remote(out_uri)
        probe = f"{root}/.kestrel-{uuid.uuid4().hex}"
        attempt(f"cannot write to {redacted(out_uri)}", fs.pipe_file, probe, b"kestrel", patience=patience)
        attempt(f"cannot delete in {redacted(out_uri)}", fs.rm_file, probe, patience=patience)
        return ()
    with translated(f"cannot write to {out_uri}"):
        existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        scratch = existing / f".kestrel-{uuid.uuid4().hex}"
        scratch.mkdir()
        try:
            (scratch / "a").write_bytes(b"kestrel")
            (scratch / "a").replace(scratch / "b")
            lacking = [name for name in ABILITIES if not _can(name, scratch)]
            return tuple(ABILITIES[name] for name in lacking if name != "exchange" or "rename" not in lacking)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _can(ability: str, scratch: Path) -> bool:
    """Try one of ABILITIES in a folder with a file ``b``."""
    try:
        if ability == "link":
            os.link(scratch / "b", scratch / "c")
        elif ability == "lock":
            with _opened(scratch) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            first, second = scratch / f"{ability}-1", scratch / f"{ability}-2"
            for one in (first, second) if ability == "exchange" else (first,):
                one.mkdir()
                (one / "file").write_bytes(b"kestrel")
            if ability == "exchange":
                return _exchanged(first, second)
            first.rename(second)
    except OSError:
        return False
    return True


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


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
        with _opened(staged) as lock:
            try:
                with contextlib.suppress(OSError):  # some network file systems know no locks
                    fcntl.flock(lock, fcntl.LOCK_EX)
                yield staged
            finally:
                shutil.rmtree(staged, ignore_errors=True)


def publish_folder(
    staged: Path, out_uri: str, name: str, *, whole: bool = True, first: bool = False, patience: Patience = PATIENCE
) -> str:
    """Make the files of ``staged`` the result ``name`` in ``out_uri``, replacing an earlier one; returns its address.

    What is not ``whole`` is the report of a failure: it gets no manifest, so nobody takes it for a result. Where the
    caller knows that it is the ``first`` thing to lie there, a store is not asked for what is to be removed.

    Local: after a sync, old and new change places in one step; whatever happens, a reader sees one of them whole.
    Where folders cannot be renamed, and on object stores: the old manifest goes, then the data come, stale files go,
    and the new manifest comes last.
    Raises StorageError; then the earlier local result is untouched. Where only the last step fails, to sync ``out_uri``
    itself, nothing is raised: the new result is in its place, whole, and no more than a power cut could undo the swap.
    """
    out = local_path(out_uri)
    if out is None:
        return _upload(staged, f"{out_uri.rstrip('/')}/{name}", whole, first, patience)
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
        try:
            if target.exists():
                _exchange(staged, target)
            else:
                staged.rename(target)
        except OSError as error:
            if error.errno in LASTING:
                raise
            _move_files(staged, target)  # mounted buckets that cannot rename a folder say so in many ways
        with contextlib.suppress(OSError):  # published, whatever the disk says now: an error would deny it
            _sync(out)
    return str(target)


LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG)
"""Refusals that no other way of moving a folder gets round."""


def _sync(path: Path) -> None:
    """Have a file reach the disk, or a folder where it can be asked to."""
    with _opened(path) as handle, unless_unknown(*((errno.EIO, errno.EBADF, errno.EACCES) if path.is_dir() else ())):
        os.fsync(handle)


def _exchange(first: Path, second: Path) -> None:
    """Two folders change places: atomically with Linux's renameat2, else by renames that a crash can fall between."""
    if _exchanged(first, second):
        return
    aside = first.with_name(first.name + "-old")
    second.rename(aside)
    try:
        first.rename(second)
    except OSError:
        aside.rename(second)
        raise
    with contextlib.suppress(OSError):  # the new result has its place; the old one is swept with what is staged
        aside.rename(first)


def _exchanged(first: Path, second: Path) -> bool:
    """Whether Linux's renameat2 did it."""
    at_cwd, exchange = -100, 2
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return bool(renameat2 and renameat2(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange) == 0)


def _move_files(staged: Path, target: Path) -> None:
    """The files of ``staged`` one by one to ``target``, the manifest last; what was there and is in neither goes."""
    names = [path.relative_to(staged) for path in sorted(staged.rglob("*")) if path.is_file()]
    (target / MANIFEST).unlink(missing_ok=True)
    for name in (name for name in names if name != Path(MANIFEST)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(target / name)
    for stale in [path for path in target.rglob("*") if path.is_file() and path.parent.name != WORK]:
        if stale.relative_to(target) not in names:
            stale.unlink()
    if Path(MANIFEST) in names:
        (staged / MANIFEST).replace(target / MANIFEST)


def _sweep(parent: Path, name: str) -> None:
    """Remove the staging folders of ``name`` whose process is gone: those that nobody holds the lock of.

    Where there are no locks, those that are more than a day old.
    """
    for folder in parent.glob(f".{name}.staging-*"):
        with contextlib.suppress(OSError), _opened(folder) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:
                if time.time() - folder.stat().st_mtime < SWEPT_S:
                    continue
            shutil.rmtree(folder, ignore_errors=True)


SWEPT_S = 86_400.0


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
            shutil.copyfile(file, to / file.name)
            with contextlib.suppress(OSError):  # its age, by which parts are removed; exFAT refuses the rights
                shutil.copystat(file, to / file.name)


def _manifest(staged: Path) -> bytes:
    entries = {}
    for path in sorted(path for path in staged.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        entries[path.relative_to(staged).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return json.dumps({"files": entries}, indent=1, sort_keys=True).encode()


UPLOADS = 8
"""Files of a result that are uploaded at once."""


def _upload(staged: Path, address: str, whole: bool, first: bool, patience: Patience) -> str:
    fs, target = remote(address)
    what = f"cannot publish {target.rpartition('/')[2]} to {redacted(address.rpartition('/')[0])}"
    manifest, content = f"{target}/{MANIFEST}", _manifest(staged)
    if not first:
        attempt(what, remove_there, fs, manifest, patience=patience)
    names = list(json.loads(content)["files"])

    def upload(relative: str) -> None:
        attempt(what, fs.put_file, str(staged / relative), f"{target}/{relative}", patience=patience)

    with ThreadPoolExecutor(UPLOADS, "uploads") as pool:
        list(pool.map(upload, names))
    kept = {f"{target}/{relative}" for relative in names}
    for stale in () if first else sorted(set(attempt(what, fs.find, target, patience=patience)) - kept):
        if not stale.startswith(f"{target}/{WORK}/"):
            attempt(what, fs.rm_file, stale, patience=patience)
    if whole:
        attempt(what, fs.pipe_file, manifest, content, patience=patience)
    return address
