"""Weights and side files, from wherever they lie to a local copy."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import ConfigError, ModelError, redacted
from pipeline.names import shown
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import attempt, change_mark, reason_of, remote, translated
from pipeline.storage.folders import staging_folder, swap_in
from pipeline.storage.onnx_files import BESIDE, MOST_ONNX_BYTES, ONNX_FILE, ONNX_SUFFIX
from pipeline.storage.paths import local_path

LICENCE = "/README.md"
"""Where a checkpoint states its licence."""


def fetch_weights(uri: str, patience: Patience = PATIENCE) -> Path:
    """A local folder of the weights at ``uri``, see :func:`fetch_folder`; or the local ONNX file, with its cards."""
    if local_path(uri) is None and urlsplit(uri).path.lower().endswith(ONNX_SUFFIX):
        return _fetch_onnx(uri, patience)
    return fetch_folder(uri, patience)


def fetch_folder(uri: str, patience: Patience = PATIENCE) -> Path:
    """A local folder with the weights at ``uri``: itself when local, else a cached copy of its safetensors and json, or
    of its ``model.onnx`` and json where it has no safetensors; and of the README.md that states their licence.

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
    listing = attempt(f"cannot list the weights at {redacted(uri)}", fs.ls, root, detail=True, patience=patience)
    files = {entry["name"]: entry for entry in listing if entry["name"].endswith((".safetensors", ".json", LICENCE))}
    if not any(path.endswith(".safetensors") for path in files):
        single = {entry["name"]: entry for entry in listing if entry["name"].rsplit("/", 1)[-1] == ONNX_FILE}
        if not single:
            raise ModelError(
                f"there are no .safetensors files at {redacted(uri)}, and no {ONNX_FILE}; nothing else is loaded"
            )
        files |= single
    return _cached(uri, files, patience)


def _fetch_onnx(uri: str, patience: Patience) -> Path:
    """A cached copy of one ONNX file and of the cards beside it. Raises ModelError where it is not, or is too large."""
    fs, path = remote(uri)
    what = f"cannot read {redacted(uri)}"
    wanted = (path, *(_in_place_of_ending(path, ending) for ending in BESIDE))
    found = {one: info for one in wanted if (info := attempt(what, _file_info, fs, one, patience=patience))}
    if path not in found:
        raise ModelError(f"there is no file at {redacted(uri)}")
    return _cached(uri, found, patience) / _name(path)


def _in_place_of_ending(path: str, ending: str) -> str:
    """``best.onnx`` → ``best`` and ``ending``; a query that follows it in a web address stays."""
    name, query, rest = path.partition("?") if path.startswith("http") else (path, "", "")
    return f"{name[: -len(ONNX_SUFFIX)]}{ending}{query}{rest}"


_NOT_THERE = (401, 403, 404, 410)
"""What web servers answer for a file that is not there, or not for us."""


def _file_info(fs: Any, path: str) -> Mapping[str, Any] | None:
    """What a store says of a file; None where it says that there is none, or none that we may see.

    Its own ``isfile`` says no as well when it cannot be reached: a card would be passed over without a word.
    """
    try:
        info: Mapping[str, Any] = fs.info(path)
    except FileNotFoundError as error:  # fsspec's web client turns all that goes wrong into it
        cause = error.__cause__
        if cause is None or isinstance(cause, FileNotFoundError) or not path.startswith("http"):
            return None
        if getattr(cause, "status", None) not in _NOT_THERE:
            raise cause from error
        return None
    except PermissionError:  # what S3 answers for a missing key to who may not list
        return None
    return info if info["type"] == "file" else None


def _name(path: str) -> str:
    return urlsplit(path).path.rsplit("/", 1)[-1]


def _cached(uri: str, files: Mapping[str, Mapping[str, Any]], patience: Patience) -> Path:
    """The folder of the cache that holds copies of ``files``, by their paths in the store and what it says of them."""
    large = [
        path for path, entry in files.items() if path.endswith(ONNX_SUFFIX) and (entry["size"] or 0) > MOST_ONNX_BYTES
    ]
    if large:
        raise ModelError(f"{redacted(uri)} is larger than {MOST_ONNX_BYTES} bytes, and no ONNX file of one piece is")
    fs, _ = remote(uri)
    version = [(path, entry["size"], str(change_mark(entry))) for path, entry in sorted(files.items())]
    key = hashlib.sha256(json.dumps([uri, version]).encode()).hexdigest()[:32]
    cache = Path(os.environ.get("KESTREL_CACHE", "~/.cache/kestrel")).expanduser()
    if not (cache / key).is_dir():
        with staging_folder(str(cache), key) as staged:
            for path in sorted(files):
                local = staged / _name(path)
                attempt(f"cannot read {redacted(uri)}", fs.get_file, path, str(local), patience=patience)
            swap_in(staged, cache, key)
    return cache / key


@contextmanager
def fetched_file(uri: str, patience: Patience = PATIENCE) -> Iterator[Path]:
    """A local copy of one file, with its siblings of the same stem (a Shapefile is several); gone afterwards.

    Raises ConfigError when there is no such file, StorageError when the store cannot be read.
    """
    path = local_path(uri)
    if path is not None:
        try:
            there = path.is_file()
        except OSError as error:
            raise ConfigError(f"{shown(uri)} cannot be looked at: {reason_of(error)}") from error
        if not there:
            raise ConfigError(f"there is no file at {shown(uri)}")
        yield path
        return
    fs, source = remote(uri)
    stem = source.rsplit(".", 1)[0]
    with tempfile.TemporaryDirectory(prefix="kestrel-") as folder:
        what = f"cannot read {redacted(uri)}"
        if not attempt(what, _file_info, fs, source, patience=patience):
            raise ConfigError(f"there is no file at {redacted(uri)}")
        siblings = [source] if source.startswith("http") else attempt(what, fs.glob, f"{stem}.*", patience=patience)
        for sibling in {source, *siblings}:
            local = Path(folder) / Path(urlsplit(sibling).path).name
            attempt(what, fs.get_file, sibling, str(local), patience=patience)
        yield Path(folder) / Path(urlsplit(source).path).name


def exists(uri: str, patience: Patience = PATIENCE) -> bool:
    """Whether a file or folder is there. Raises StorageError when the store cannot be asked."""
    path = local_path(uri)
    if path is not None:
        return path.exists()
    fs, root = remote(uri)
    return bool(attempt(f"cannot look for {redacted(uri)}", fs.exists, root, patience=patience))


def read_text(uri: str, patience: Patience = PATIENCE) -> str:
    """A text file (UTF-8). Raises StorageError when it cannot be read."""
    path = local_path(uri)
    if path is not None:
        with translated(f"cannot read {uri}"):
            return path.read_text(encoding="utf-8")
    fs, root = remote(uri)
    data: bytes = attempt(f"cannot read {redacted(uri)}", fs.cat_file, root, patience=patience)
    return data.decode()
