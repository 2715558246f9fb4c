"""One scene of a feed, as it waits to be detected; and what a feed holds that is none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.raster.addresses import DEVICES, LONGEST_ID, origin_of, split_uris

LINKS = "links"
"""Stands for the collection in keys of documents that could not be read."""
MISSING = "missing"
"""The same of those that are not there."""
_DIGITS = 10
"""Of the hash that ends a scene's id: 16^10 keys, two of which agree by chance once in a million scenes squared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneToDo:
    """One scene of a feed. Moments know their zone; what the source does not tell is None."""

    key: str
    """``feed/collection/id``: the same scene has it in every listing. It may hold any character."""
    scene_id: str
    """Name of its folder, one for each key, see :func:`scene_id_of_key`."""
    uri: str
    """What ``--scene`` takes: one file, or one-band files joined by commas; with its signature, where it has one."""
    hint: str
    """Changes when the scene may have: see :func:`hint_of`. The same hint means that nobody need look."""
    acquired: datetime | None = None
    """When it was taken."""
    updated: datetime | None = None
    """When the source last changed it, or what it says of it."""
    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees of longitude and latitude; west > east across the antimeridian."""
    cloud_cover: float | None = None
    """Percent of the scene."""
    gsd_m: float | None = None
    """Ground sample distance, metres."""
    sensor: str | None = None
    licence: str | None = None
    """As SPDX or the source names it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys of RunConfig for this scene alone, such as ``raster.bands``; what the feed sets itself goes first."""
    offset_dn: float = 0.0
    """What the archive added to the pixel values of the scene, to be taken off before they mean reflectance."""
    supersedes: str | None = None
    """Scenes of one group are the same view, processed again: one of them is to be detected."""
    rank: str = ""
    """The highest of a group, as text, is the one."""
    signer: str | None = None
    """What gives signatures for its files, see :mod:`pipeline.ingest.signing`."""
    item_href: str | None = None
    """Address of its STAC item."""

    @property
    def origin(self) -> tuple[str, ...]:
        """Its files without signatures: two keys with one origin name the same scene."""
        return origin_of(split_uris(self.uri))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """An entry of a feed that is no scene to detect, or not yet."""

    key: str
    reason: str
    """One sentence."""

    @property
    def hides_scenes(self) -> bool:
        """Whether it is a document that could not be read: what the feed holds besides is known without it only."""
        return self.key.split("/", 2)[1] == LINKS


def scene_key(feed: str, collection: str, name: str) -> str:
    """``feed/collection/id``, as text that any table takes: half a surrogate, or a byte that is no letter, in the name
    of a file is written as an escape."""
    return f"{feed}/{collection}/{name}".encode("utf-8", "backslashreplace").decode()


def scene_id_of_key(key: str, name: str) -> str:
    """A folder name: what people know the scene by, and a hash of the key. Every key has another, in any alphabet and
    where capitals and small letters are one; it never begins with an underscore."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[: LONGEST_ID - _DIGITS - len("scene--")].rstrip("._-")
    known = f"scene-{plain}" if DEVICES.fullmatch(f"{plain}-") else plain or "scene"
    return f"{known}-{digest}"


def hint_of(*, updated: datetime | None, hrefs: Iterable[str], marks: Iterable[object] = ()) -> str:
    """Hex digest of what tells cheaply that a scene may have changed: when its entry did, which files it names (without
    the signatures, which change every hour), and their checksums or ETags, as ``marks``."""
    content = [None if updated is None else updated.isoformat(), list(origin_of(tuple(hrefs))), [*map(str, marks)]]
    return hashlib.sha256(json.dumps(content).encode("utf-8", "surrogatepass")).hexdigest()[:32]
