"""The results that lie in an output folder, local or on an object store, whoever wrote them and when.

A result is whole when its manifest is there, the record is the one that the manifest names, and no file is missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.errors import ConfigError, redacted
from pipeline.runs.published import RECORD
from pipeline.storage.files import file_names, json_object, read_file
from pipeline.storage.folders import MANIFEST
from pipeline.storage.paths import join

THREADS = 16
"""Results that are asked for at once: a store answers each in a hundredth of a second, whatever else it does."""
AT_ONCE = 256
"""Results that are held in memory while they wait to be drawn."""
ATTEMPTS = 3
"""A result that is exchanged between two reads is read again so often."""

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Published:
    """One whole result."""

    scene_id: str
    folder: str
    """Its address."""
    record: Mapping[str, Any]
    """What ``run.json`` says."""
    manifest: Mapping[str, Any]
    """``{"files": {name: {"bytes": int, "sha256": hex}}}``"""

    @property
    def version(self) -> str:
        """Changes when any file of the result does; see :func:`manifest_version`."""
        return manifest_version(self.manifest)


def manifest_version(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the checksums that a manifest holds: another result has another version."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def scene_names(out_uri: str) -> list[str]:
    """Names of the folders in ``out_uri`` that may hold the result of a scene, sorted. Raises StorageError."""
    folders = file_names(out_uri, folders=True) - file_names(out_uri)
    return sorted(name for name in folders if not name.startswith(("_", ".")))


def no_results(out_uri: str) -> ConfigError:
    """What is to be said of a folder in which there is no result of any scene. Raises StorageError."""
    if MANIFEST in file_names(out_uri):
        return ConfigError(f"{redacted(out_uri)} is the result of one scene; give the folder that holds it")
    return ConfigError(f"{redacted(out_uri)} holds no results; give the --out of kestrel detect")


def manifests(out_uri: str, scene_ids: Collection[str] | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(scene_id, manifest) of every result, sorted by name: one request each, and enough to know what has changed.

    ``scene_ids``: of these alone. Raises StorageError.
    """
    names = scene_names(out_uri) if scene_ids is None else sorted(set(scene_ids))
    for name, manifest in _in_turn(lambda name: (name, _manifest(join(out_uri, name))), names):
        if manifest:
            yield name, manifest


def published_results(out_uri: str, scene_ids: Collection[str] | None = None) -> Iterator[Published]:
    """Every whole result in ``out_uri``, sorted by ``scene_id``; ``scene_ids``: of these scenes alone.

    Memory is that of a few hundred, however many there are. Raises StorageError.
    """
    names = scene_names(out_uri) if scene_ids is None else sorted(set(scene_ids))
    for result in _in_turn(lambda name: published_result(out_uri, name), names):
        if result is not None:
            yield result


def published_result(out_uri: str, scene_id: str) -> Published | None:
    """The whole result of one scene; None where there is none. Raises StorageError.

    Manifest and record are of the same result, also while a job exchanges it.
    """
    folder = join(out_uri, scene_id)
    for _ in range(ATTEMPTS):
        manifest = _manifest(folder)
        if not manifest:
            return None
        content = read_file(join(folder, RECORD)) or b""
        if hashlib.sha256(content).hexdigest() == manifest["files"].get(RECORD, {}).get("sha256"):
            record = json_object(content)
            whole = record and set(manifest["files"]) <= file_names(folder)
            return Published(scene_id=scene_id, folder=folder, record=record, manifest=manifest) if whole else None
    return None


def _in_turn(ask: Callable[[_Item], _Answer], items: Sequence[_Item]) -> Iterator[_Answer]:
    """The answers in the order of ``items``, asked for by several threads, few of them ahead of who draws them."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(items), AT_ONCE):
            yield from pool.map(ask, items[start : start + AT_ONCE])


def _manifest(folder: str) -> Mapping[str, Any]:
    """Of the result in a folder; empty where there is none, or it is not what a run writes."""
    manifest = json_object(read_file(join(folder, MANIFEST)))
    files = manifest.get("files")
    sound = isinstance(files, dict) and all(isinstance(entry, dict) for entry in files.values())
    return manifest if sound and files else {}
