"""A text file of addresses, one a line: of STAC items, or of scenes as ``--scene`` takes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.errors import ConfigError, StorageError, one_sentence
from pipeline.ingest.documents import Document, read_documents
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.file_scenes import State, recognised_alone, scene_of_uris
from pipeline.ingest.hrefs import resolved, why_not_read
from pipeline.ingest.item_scenes import scene_of_item
from pipeline.ingest.scene_to_do import LINKS, SceneToDo, Unusable, scene_key
from pipeline.names import public_uri, shown
from pipeline.raster.addresses import scene_id_of, split_uris
from pipeline.raster.scene_files import RASTERS
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.files import file_version
from pipeline.storage.paths import is_local
from pipeline.storage.sources import read_source

COLLECTION = "list"
"""Stands for the collection in keys of scenes that a list names."""
SCENES = (*RASTERS, ".vrt")
"""Endings of scenes; what ends otherwise is a STAC item."""


def scenes_of_list(feed: FeedConfig, patience: Patience = PATIENCE) -> Iterator[SceneToDo | Unusable]:
    """The scenes that the text file at the feed's address names. Empty lines and those that begin with # say nothing.

    Raises StorageError or ConfigError when there is no such file, or it is none of text.
    """
    address = feed.source.address
    data = read_source(address, patience)
    if data is None:
        raise StorageError(f"the feed {feed.name}: there is no list at {shown(address)}; check source.address")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown(address)} is no list of addresses: it is no text") from error
    lines = [line.strip() for line in text.splitlines()]
    named = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if len(named) > feed.source.max_items:
        raise ConfigError(f"{shown(address)} names more than {feed.source.max_items} scenes; raise source.max_items")
    items: list[str] = []
    for line in named:
        uris = [resolved(address, one) for one in split_uris(line)]
        if len(uris) > 1 or PurePosixPath(public_uri(uris[0])).suffix.lower() in SCENES:
            yield _scene(feed, line, uris)
        elif (reason := why_not_read(address, uris[0])) is not None:
            yield Unusable(key=scene_key(feed.name, LINKS, public_uri(uris[0])), reason=f"the list {reason}")
        else:
            items.append(uris[0])
    for document in read_documents(items, patience) if items else ():
        yield _item(feed, document)


def _item(feed: FeedConfig, document: Document) -> SceneToDo | Unusable:
    return document.unusable(feed.name) or scene_of_item(feed, document.content, document.href)


def _scene(feed: FeedConfig, line: str, uris: list[str]) -> SceneToDo | Unusable:
    """What a line names itself. Of files that this machine has, their state is part of the hint."""
    key = scene_key(feed.name, COLLECTION, scene_id_of(uris, "{stem}-{hash}"))
    reasons = (why_not_read(feed.source.address, uri) for uri in uris)
    reason = next((reason for reason in reasons if reason is not None), None)
    if reason is not None:
        return Unusable(key=key, reason=f"the list {reason}")
    try:
        marks = tuple(str(file_version(uri)) for uri in uris if is_local(uri))
    except StorageError as error:
        return Unusable(key=key, reason=f"the list names {shown(line)}: {one_sentence(error)}")
    name = scene_id_of(uris)
    return scene_of_uris(feed, key, name, recognised_alone(feed, public_uri(uris[0])), uris, State(marks=marks))
