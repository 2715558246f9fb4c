"""What the ledger says of one scene, and its JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.names import told

FORMAT = 1
"""Of the JSON."""
MOST_ATTEMPTS = 10
"""The latest that an entry keeps."""


class State(StrEnum):
    """Where a scene stands."""

    NEW = "NEW"
    """Seen in a feed, waiting."""
    CLAIMED = "CLAIMED"
    """A tick is at work on it."""
    PUBLISHED = "PUBLISHED"
    PARTIAL = "PARTIAL"
    """Published with holes."""
    FAILED = "FAILED"
    """It will be tried again."""
    INVALID = "INVALID"
    """It cannot work as it is: tried again when it changes."""
    POISON = "POISON"
    """Tried too often; only a person has it tried again."""
    SKIPPED = "SKIPPED"
    """Not wanted: filtered out, outside the area, superseded, or done by another feed."""
    WITHDRAWN = "WITHDRAWN"
    """Worked on once; its feed shows it no more, or shows a better one."""


HAS_RESULT = (State.PUBLISHED, State.PARTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right of one tick to work on a scene, as long as the lease of that tick is renewed."""

    tick: str
    """Token of the tick; its lease is the ledger's ``ticks/.{tick}.lease``."""
    before: State
    """What the scene was when it was claimed, and is again when it is given back."""
    hint: str
    version: str
    """Of the scene that this tick is at work on: what is published may be of an earlier one."""
    alone: bool
    """Nothing else was in flight: if the tick dies, this scene is to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one go at a scene ended."""

    at: str
    """ISO time by the clock of who worked; for people only."""
    ended: str
    """A status of a scene's report, or DIED, CHANGED, BUSY."""
    exit_code: int
    sentence: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One scene. Every field but the first two has a default, so that older files can be read."""

    key: str
    scene_id: str
    state: State = State.NEW
    sentence: str = ""
    """Why it is in this state."""
    hint: str = ""
    """Cheap version of what the last go was about, see SceneToDo; empty before the first."""
    version: str = ""
    """Content version of the same: ETags, or sizes and times, of its files."""
    claim: Claim | None = None
    attempts: tuple[Attempt, ...] = ()
    """The latest, oldest first."""
    failures: int = 0
    """In a row, of this version."""
    deaths: int = 0
    """Of ticks that had this scene alone in flight."""
    kills: int = 0
    """Goes in which it killed workers."""
    suspect: bool = False
    """A tick died while this was among the scenes in flight: next time it is done alone."""
    stops: int = 0
    """Ticks it ended: its turn comes after all others."""
    wait_s: float = 0.0
    """Of FAILED: seconds from the writing of this entry, by the clock of the store, until it is tried again."""
    exit_code: int = 0
    """Of the last go."""
    run_id: str | None = None
    """Of what is published."""
    origin: str = ""
    """Its files without signatures."""
    acquired: str | None = None
    updated: str | None = None
    """ISO times of the scene, UTC."""
    group: str | None = None
    rank: str = ""
    """Of one group the highest rank is wanted."""
    seen: str = ""
    """ISO time of the store when it was seen first."""


class Damaged(ValueError):
    """The content of a ledger file is no entry; the message is the end of a sentence."""


def name_of(key: str) -> str:
    """Name of the file of a scene in the ledger: any key, hashed."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{digest[:2]}/{digest}.json"


def to_json(entry: Entry) -> bytes:
    """The file of an entry: what has its default is left out."""
    content = {
        one.name: getattr(entry, one.name)
        for one in dataclasses.fields(Entry)
        if getattr(entry, one.name) != one.default
    }
    for name, nested in (("claim", entry.claim), ("attempts", entry.attempts)):
        if nested:
            content[name] = (
                [*map(dataclasses.asdict, nested)] if isinstance(nested, tuple) else dataclasses.asdict(nested)
            )
    return (json.dumps({"ledger": FORMAT, **content}, ensure_ascii=True) + "\n").encode()


def from_json(content: bytes, name: str | None = None) -> Entry:
    """The entry in a file of the ledger, which is called ``name``. Raises Damaged."""
    try:
        values = json.loads(content)
    except ValueError as error:
        raise Damaged("is no JSON, or half of it") from error
    if not isinstance(values, dict) or values.pop("ledger", None) != FORMAT:
        raise Damaged(f"is no entry of format {FORMAT}")
    try:
        entry = _entry(values)
    except (TypeError, ValueError, KeyError) as error:
        raise Damaged(f"holds something strange: {told(error)}") from error
    if name is not None and name_of(entry.key) != name:
        raise Damaged("belongs to another scene")
    return entry


def _entry(values: dict[str, Any]) -> Entry:
    claim, attempts = values.pop("claim", None), values.pop("attempts", [])
    kinds = {one.name: str(one.type) for one in dataclasses.fields(Entry)}
    for name, value in values.items():
        if name in kinds and not isinstance(value, _KINDS[kinds[name]]):
            raise TypeError(f"{name} is {type(value).__name__}")
    known = {name: value for name, value in values.items() if name in kinds}
    known["state"] = State(values.get("state", State.NEW))
    entry = Entry(
        **known,
        claim=None if claim is None else Claim(**{**claim, "before": State(claim["before"])}),
        attempts=tuple(Attempt(**one) for one in attempts),
    )
    if (entry.state is State.CLAIMED) != (entry.claim is not None):
        raise ValueError("its state and its claim disagree")
    return entry


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,), "State": (str,), "int": (int,), "float": (int, float), "bool": (bool,),
    "str | None": (str, type(None)),
}  # fmt: skip
"""Annotation of a plain field of Entry → what JSON may have there."""
