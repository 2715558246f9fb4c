"""Folders of results and weights, wherever they lie: local disks and any address fsspec knows. fsspec's only home.

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
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import fsspec

from pipeline.errors import ConfigError, ModelError, PipelineError, StorageError, redacted
from pipeline.names import shown
from pipeline.retrying import PATIENCE, retried

MANIFEST = "manifest.json"
"""The last file of a result to appear, ``{"files": {name: {"bytes": int, "sha256": hex}}}``."""
WORK = "_work"
"""Folder inside a result that is no part of it: what is kept there outlives the publishing of a new result."""

_PERMANENT = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ImportError,
)
_T = TypeVar("_T")
_CLIENTS: dict[str, dict[str, Any]] = {
    # botocore's attempts would multiply s3fs's five, and ours: a store that is down for good took minutes to be so.
    "s3": {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}, "connect_timeout": 10}}
}
"""Options of a scheme's file system."""


def local_path(uri: str) -> Path | None:
    """The path that ``uri`` means on this machine, or None when it is the address of something else.

    Raises ConfigError for the home folder of somebody unknown.
    """
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    if "://" in uri or "::" in uri:
        return None
    try:
        return Path(uri).expanduser()
    except RuntimeError as error:  # ~ of a user whom nobody knows
        raise ConfigError(f"{uri}: there is no such home folder on this machine; check the path") from error


def is_local(uri: str) -> bool:
    """Whether ``uri`` means a path on this machine."""
    return local_path(uri) is not None


def check_writable(out_uri: str) -> None:
    """Prove, before any work is done, that results can be written to ``out_uri``; leaves nothing behind.

    Raises StorageError when they cannot.
    """
    folder = local_path(out_uri)
    if folder is None:
        fs, root = remote(out_uri)
        probe = f"{root}/.kestrel-{uuid.uuid4().hex}"
        attempt(f"cannot write to {redacted(out_uri)}", fs.pipe_file, probe, b"kestrel")
        attempt(f"cannot delete in {redacted(out_uri)}", fs.rm_file, probe)
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


def publish_folder(staged: Path, out_uri: str, name: str, *, whole: bool = True) -> str:
    """Make the files of ``staged`` the result ``name`` in ``out_uri``, replacing an earlier one; returns its address.

    What is not ``whole`` is the report of a failure: it gets no manifest, so nobody takes it for a result.

    Local: after a sync, old and new change places in one step; whatever happens, a reader sees one of them whole.
    Object stores: the old manifest goes, data is uploaded, stale files go, the new manifest comes last.
    Raises StorageError; then the earlier local result is untouched.
    """
    out = local_path(out_uri)
    if out is None:
        return _upload(staged, out_uri, name, whole=whole)
    with translated(f"cannot publish {name} to {out_uri}"):
        if whole:
            (staged / MANIFEST).write_bytes(_manifest(staged))
        _carry_over(out / name / WORK, staged / WORK)
    return _swap_in(staged, out, name)


def _swap_in(staged: Path, out: Path, name: str) -> str:
    """A staged folder takes its place, or changes places with what was there. Raises StorageError."""
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


def fetch_folder(uri: str) -> Path:
    """A local folder with the weights at ``uri``: itself when local, else a cached copy of its safetensors and json.

    Nothing else is ever copied (pickles can run code). The cache (``KESTREL_CACHE``, default ``~/.cache/kestrel``)
    is keyed by the address and by the sizes and versions of its files, so a changed folder is fetched anew.
    Raises ModelError when there are no safetensors, StorageError when the store cannot be read.
    """
    folder = local_path(uri)
    if folder is not None:
        if not folder.is_dir():
            raise ModelError(f"there is no folder of weights at {uri}")
        return folder
    fs, root = remote(uri)
    listing = attempt(f"cannot list the weights at {redacted(uri)}", fs.ls, root, detail=True)
    files = {entry["name"]: entry for entry in listing if entry["name"].endswith((".safetensors", ".json"))}
    if not any(path.endswith(".safetensors") for path in files):
        raise ModelError(f"there are no .safetensors files at {redacted(uri)}; only safetensors are loaded")
    version = [
        (path, entry["size"], str(entry.get("ETag", entry.get("mtime")))) for path, entry in sorted(files.items())
    ]
    key = hashlib.sha256(json.dumps([uri, version]).encode()).hexdigest()[:32]
    cache = Path(os.environ.get("KESTREL_CACHE", "~/.cache/kestrel")).expanduser()
    if not (cache / key).is_dir():
        with staging_folder(str(cache), key) as staged:
            for path in sorted(files):
                local = staged / path.rsplit("/", 1)[-1]
                attempt(f"cannot read {redacted(uri)}", fs.get_file, path, str(local))
            _swap_in(staged, cache, key)
    return cache / key


@contextmanager
def fetched_file(uri: str) -> Iterator[Path]:
    """A local copy of one file, with its siblings of the same stem (a Shapefile is several); gone afterwards.

    Raises ConfigError when there is no such file, StorageError when the store cannot be read.
    """
    path = local_path(uri)
    if path is not None:
        try:
            there = path.is_file()
        except OSError as error:
            raise ConfigError(f"{shown(uri)} cannot be looked at: {_reason(error)}") from error
        if not there:
            raise ConfigError(f"there is no file at {shown(uri)}")
        yield path
        return
    fs, source = remote(uri)
    stem = source.rsplit(".", 1)[0]
    with tempfile.TemporaryDirectory(prefix="kestrel-") as folder:
        what = f"cannot read {redacted(uri)}"
        if not attempt(what, fs.isfile, source):
            raise ConfigError(f"there is no file at {redacted(uri)}")
        siblings = [source] if source.startswith("http") else attempt(what, fs.glob, f"{stem}.*")
        for sibling in {source, *siblings}:
            local = Path(folder) / Path(urlsplit(sibling).path).name
            attempt(what, fs.get_file, sibling, str(local))
        yield Path(folder) / Path(urlsplit(source).path).name


def exists(uri: str) -> bool:
    """Whether a file or folder is there. Raises StorageError when the store cannot be asked."""
    path = local_path(uri)
    if path is not None:
        return path.exists()
    fs, root = remote(uri)
    return bool(attempt(f"cannot look for {redacted(uri)}", fs.exists, root))


def read_text(uri: str) -> str:
    """A text file (UTF-8). Raises StorageError when it cannot be read."""
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot read {uri}"):
            return path.read_text(encoding="utf-8")
    fs, root = remote(uri)
    data: bytes = attempt(f"cannot read {redacted(uri)}", fs.cat_file, root)
    return data.decode()


def remote(uri: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    try:
        # Together: a client that is being made while the environment changes must not outlive the look that saw it.
        with _CLIENTS_LOCK:
            _forget_other_environments(uri.split("://", 1)[0].rsplit("::", 1)[-1])
            options = _CLIENTS.get(uri.split("://", 1)[0], {})
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
    environment = {name: os.environ.get(name) for name in os.environ}  # a thread may take one away meanwhile
    if _made_in.setdefault(scheme, environment) != environment:
        fsspec.get_filesystem_class(scheme).clear_instance_cache()
        _made_in[scheme] = environment


def attempt(what: str, action: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """The call, tried again after a pause when the fault may pass. Raises StorageError, without secrets."""
    try:
        return retried(partial(action, *args, **options), lambda error: not isinstance(error, _PERMANENT), what)
    except _PERMANENT as error:
        raise StorageError(f"{what}: {_reason(error)}") from error
    except Exception as error:  # each backend of fsspec raises exceptions of its own library
        raise StorageError(f"{what}, after {PATIENCE.attempts} attempts: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
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
        raise StorageError(f"{what}: {_reason(error)}{remedy}") from error


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


def _upload(staged: Path, out_uri: str, name: str, *, whole: bool) -> str:
    fs, root = remote(out_uri)
    target, what = f"{root}/{name}", f"cannot publish {name} to {redacted(out_uri)}"
    manifest, content = f"{target}/{MANIFEST}", _manifest(staged)
    if attempt(what, fs.exists, manifest):
        attempt(what, fs.rm_file, manifest)
    names = list(json.loads(content)["files"])
    for relative in names:
        attempt(what, fs.put_file, str(staged / relative), f"{target}/{relative}")
    kept = {f"{target}/{relative}" for relative in names}
    for stale in sorted(set(attempt(what, fs.find, target)) - kept):
        if not stale.startswith(f"{target}/{WORK}/"):
            attempt(what, fs.rm_file, stale)
    if whole:
        attempt(what, fs.pipe_file, manifest, content)
    return f"{out_uri.rstrip('/')}/{name}"
