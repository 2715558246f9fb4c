"""Static STAC catalogues: files that link to files. Walked in order, each once, however they link."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.errors import ConfigError, StorageError
from pipeline.ingest.documents import AT_ONCE, Document, read_document, read_documents
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.hrefs import resolved, why_not_read
from pipeline.ingest.item_scenes import scene_of_item
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.names import public_uri, shown
from pipeline.retrying import PATIENCE, Patience

DEEPEST = 32
"""Levels of catalogues; deeper ones are taken for a tree without an end."""


def scenes_of_catalogue(feed: FeedConfig, patience: Patience = PATIENCE) -> Iterator[SceneToDo | Unusable]:
    """The scenes of the catalogue, collection or item at the feed's address.

    Raises ConfigError when that is none of these, or holds more than ``source.max_items``; StorageError when it, or a
    catalogue below it, cannot be read now: what is listed in part must not look like all there is.
    """
    root = read_document(feed.source.address, patience)
    if root.failure is not None:
        raise root.failure
    if root.lacking is not None:
        raise StorageError(f"the feed {feed.name}: {root.lacking}; check source.address")
    if not isinstance(root.content, Mapping) or kind_of(root.content) == "":
        raise ConfigError(f"{shown(root.href)} is no STAC catalogue, collection or item; check source.address")
    if "conformsTo" in root.content:
        raise ConfigError(f"{shown(root.href)} is a STAC API, and no static catalogue: write kind: stac-api")
    yield from _walk(feed, root, patience)


def _walk(feed: FeedConfig, root: Document, patience: Patience) -> Iterator[SceneToDo | Unusable]:
    """Level by level: the documents of one, several at a time, and what they link to."""
    seen = {public_uri(root.href)}
    level: Iterable[Document] = [root]
    items: set[str] = set()
    count = 0
    for _ in range(DEEPEST):
        below: list[str] = []
        for document in level:
            if document.failure is not None and document.href not in items:
                raise document.failure
            for entry in _items(feed, document):
                count += 1
                if count > feed.source.max_items:
                    raise ConfigError(_too_many(feed, "items"))
                yield entry
            for rel, href in _links(feed, document):
                if public_uri(href) not in seen:
                    seen.add(public_uri(href))
                    below.append(href)
                    items.update([href] if rel == "item" else [])
            if len(seen) > 2 * feed.source.max_items + AT_ONCE:
                raise ConfigError(_too_many(feed, "documents"))
        if not below:
            return
        level = read_documents(below, patience)
    raise ConfigError(f"the catalogue {shown(root.href)} is deeper than {DEEPEST} levels; name one of its collections")


def _items(feed: FeedConfig, document: Document) -> Iterator[SceneToDo | Unusable]:
    """What the document is itself: an item, several, or nothing that can be read."""
    content, href = document.content, document.href
    unread = document.unusable(feed.name)
    if unread is None and kind_of(content) == "":
        unread = replace(document, lacking=f"{shown(href)} is no STAC document").unusable(feed.name)
    if unread is not None:
        yield unread
        return
    kind = kind_of(content)
    items = [content] if kind == "item" else content.get("features", []) if kind == "items" else []
    for item in items:
        if not feed.source.collections or (isinstance(item, Mapping) and _of(feed, item.get("collection"))):
            yield scene_of_item(feed, item, href)


def _links(feed: FeedConfig, document: Document) -> Iterator[tuple[str, str]]:
    """``child`` or ``item``, and the address, of what a catalogue or a collection holds."""
    content = document.content
    if kind_of(content) not in ("catalogue", "collection"):
        return
    wanted: tuple[str, ...] = ("child", "item")
    if kind_of(content) == "collection" and feed.source.collections and not _of(feed, content.get("id")):
        wanted = ("child",)  # a collection of collections: one of those may be named
    links = content.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, Mapping) and link.get("rel") in wanted and isinstance(link.get("href"), str):
            href = resolved(document.href, link["href"])
            if why_not_linked(document.href, href) is None:
                yield link["rel"], href


def why_not_linked(base: str, href: str) -> str | None:
    """A catalogue from elsewhere links to no file of this machine; what it links to need not be a scene."""
    return why_not_read(base, href) if "://" not in href or href.startswith("file:") else None


def _of(feed: FeedConfig, collection: Any) -> bool:
    return collection in feed.source.collections


def kind_of(content: Any) -> str:
    """``catalogue``, ``collection``, ``item``, ``items`` or nothing; STAC 0.9 had no ``type`` for the first two."""
    if not isinstance(content, Mapping):
        return ""
    kinds = {"Catalog": "catalogue", "Collection": "collection", "Feature": "item", "FeatureCollection": "items"}
    kind = content.get("type")
    if isinstance(kind, str) and kind in kinds:
        if kind == "FeatureCollection" and not isinstance(content.get("features"), list):
            return ""
        return kinds[kind]
    return "catalogue" if kind is None and "stac_version" in content and "links" in content else ""


def _too_many(feed: FeedConfig, what: str) -> str:
    return (
        f"the catalogue {shown(feed.source.address)} holds more than {feed.source.max_items} {what}; name some of its "
        "collections in source.collections, or raise source.max_items"
    )
