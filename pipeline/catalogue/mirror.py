"""``items.parquet`` and ``collection.json``: the two files of a catalogue that whoever collects exchanges."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.catalogue.turns import CATALOGUE, turns
from pipeline.errors import redacted
from pipeline.outputs.stac_collection import MIRROR_FILE, MirrorFile, collection
from pipeline.outputs.stac_geoparquet import items_table, read, written
from pipeline.outputs.tables import Table
from pipeline.reporting.journal import Journal
from pipeline.storage.conditional import Versioned, exchange, read_versioned
from pipeline.storage.files import json_object, read_file
from pipeline.storage.paths import join, local_path

COLLECTION = "collection.json"
KEPT = ("id", "title", "description", "license", "keywords", "providers")
"""Of a collection that is there already: a person may have said it better."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mirror:
    """``items.parquet`` as it was read."""

    items: Table
    file: Versioned | None
    """None where there is none."""


def read_mirror(out_uri: str, journal: Journal) -> Mirror:
    """All items; none where the file is not there, or holds something else, which is said. Raises StorageError."""
    address = join(out_uri, CATALOGUE, MIRROR_FILE)
    file = read_versioned(address)
    items = None if file is None else read(file.content)
    if file is not None and items is None:
        journal.say(f"{redacted(address)} is no table of items; it is made anew")
    return Mirror(items=items_table([]) if items is None else items, file=file)


def write_mirror(out_uri: str, items: Table, before: Mirror) -> bool:
    """Put ``items`` in the place of ``before``; False when somebody else has been faster. Raises StorageError."""
    there = json_object(read_file(join(out_uri, CATALOGUE, COLLECTION)))
    content = written(items, _collection(items, out_uri, there, None))
    address = join(out_uri, CATALOGUE, MIRROR_FILE)
    return exchange(address, content, _version(before)) is not None


def write_collection(out_uri: str, journal: Journal) -> Table:
    """Bring ``collection.json`` to what ``items.parquet`` says; returns the items. Raises StorageError.

    Where the mirror is exchanged meanwhile, it is done again: whoever is last has seen the last mirror.
    """
    address = join(out_uri, CATALOGUE, COLLECTION)
    for _ in turns(join(out_uri, CATALOGUE)):
        mirror, there = read_mirror(out_uri, journal), read_versioned(address)
        content = b"" if mirror.file is None else mirror.file.content
        known = MirrorFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        made = _collection(mirror.items, out_uri, json_object(None if there is None else there.content), known)
        told = to_json(made)
        if there is not None and there.content == told:
            return mirror.items
        done = exchange(address, told, None if there is None else there.version) is not None
        if done and _version(read_mirror(out_uri, journal)) == _version(mirror):
            return mirror.items
    raise AssertionError("turns end by themselves")


def collection_id(out_uri: str) -> str:
    """Of the collection that is there; else after the output folder. Raises StorageError."""
    there = json_object(read_file(join(out_uri, CATALOGUE, COLLECTION)))
    return str(there.get("id") or _named_after(out_uri))


def to_json(content: Mapping[str, Any]) -> bytes:
    """Indented JSON with a final newline; key order as given."""
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _collection(
    items: Table, out_uri: str, there: Mapping[str, Any], mirror: MirrorFile | None
) -> dict[str, Any]:  # fmt: skip
    made = collection(items, str(there.get("id") or _named_after(out_uri)), mirror)
    return {**made, **{key: there[key] for key in KEPT if key in there}}


def _named_after(out_uri: str) -> str:
    """The last folder of an address, in letters, digits, ``.``, ``-`` and ``_``."""
    path = local_path(out_uri)
    last = (out_uri.rstrip("/") if path is None else Path(path).absolute().as_posix()).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.") or "kestrel"


def _version(mirror: Mirror) -> str | None:
    return None if mirror.file is None else mirror.file.version
