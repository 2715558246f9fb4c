"""Results that count no more, though their files are still there: ``OUT/_catalogue/withdrawn.json``.

Ingestion knows it, by its feeds and its ledger; the catalogue only keeps it, so that whoever collects tells it. Results
that nobody ingested are never in it. It is exchanged only as it was read, so of two who change it nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.catalogue.mirror import to_json
from pipeline.catalogue.turns import CATALOGUE, turns
from pipeline.errors import redacted
from pipeline.storage.conditional import exchange, read_versioned
from pipeline.storage.paths import join

WITHDRAWN = "withdrawn.json"
FORMAT = 1
"""Of the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Why the result of a scene counts no more."""

    sentence: str
    since: str
    """ISO time, UTC."""
    successor: str | None = None
    """``scene_id`` of the better one, where it was superseded."""
    key: str = ""
    """By which ingestion knows the scene."""


def withdrawn(out_uri: str, say: Callable[[str], None]) -> dict[str, Withdrawal]:
    """scene_id → why its result counts no more. A file that is something else counts for none, and that is said.

    Raises StorageError.
    """
    there = read_versioned(_address(out_uri))
    known = None if there is None else _understood(there.content)
    if there is not None and known is None:
        say(f"{redacted(_address(out_uri))} is no list of withdrawn scenes; the next kestrel ingest makes it anew")
    return known or {}


def note_withdrawn(out_uri: str, gone: Mapping[str, Withdrawal], back: Collection[str]) -> set[str]:
    """Note the scenes ``gone``, and take out the scenes ``back``; ids of those of which it said something else before.

    Of a scene that is noted already the first ``since`` stays. Raises StorageError when the store fails, or others
    write without end.
    """
    address = _address(out_uri)
    for _ in turns(join(out_uri, CATALOGUE)):
        there = read_versioned(address)
        known = {} if there is None else _understood(there.content)
        before = known or {}
        noted = {name: replace(one, since=before[name].since) if name in before else one for name, one in gone.items()}
        after = {name: one for name, one in (before | noted).items() if name in noted or name not in back}
        if after == known:
            return set()
        content = to_json({"format": FORMAT, "scenes": {name: asdict(after[name]) for name in sorted(after)}})
        if exchange(address, content, None if there is None else there.version) is not None:
            return {name for name in before | after if before.get(name) != after.get(name)}
    raise AssertionError("turns end by themselves")


def _address(out_uri: str) -> str:
    return join(out_uri, CATALOGUE, WITHDRAWN)


def _understood(content: bytes) -> dict[str, Withdrawal] | None:
    """None for what no tick wrote."""
    try:
        found = json.loads(content)
        if found["format"] != FORMAT:
            return None
        return {str(name): _withdrawal(one) for name, one in found["scenes"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _withdrawal(values: Mapping[str, Any]) -> Withdrawal:
    made = Withdrawal(**values)
    if not all(isinstance(one, str) for one in (made.sentence, made.since, made.key, made.successor or "")):
        raise TypeError("its fields are texts")
    return made
