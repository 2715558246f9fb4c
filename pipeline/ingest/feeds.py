"""What a feed holds: its scenes, each once, newest first; and what in it is none, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from pipeline.errors import ConfigError, StorageError, one_sentence
from pipeline.ingest.address_list import scenes_of_list
from pipeline.ingest.feed_file import FeedConfig, Kind
from pipeline.ingest.file_scenes import scenes_of_files
from pipeline.ingest.item_scenes import scene_of_item
from pipeline.ingest.layouts import LAYOUTS
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.stac_api import scenes_of_api
from pipeline.ingest.static_stac import scenes_of_catalogue
from pipeline.names import quoted, shown
from pipeline.outputs.item_table import read_items
from pipeline.storage.conditional import list_objects
from pipeline.storage.fetching import fetched_file
from pipeline.storage.paths import join, local_path
from pipeline.storage.sources import check_listable, read_source

UNDATED = datetime.min.replace(tzinfo=UTC)


def scenes(feed: FeedConfig, since: datetime | None = None) -> Iterator[SceneToDo | Unusable]:
    """Every scene of the feed, once for each key, newest first where times are known; what is none comes last.

    ``since``: a hint that changes before it were seen; feeds that can be asked for changes alone then are, from
    two days before it on. One bad entry is an Unusable. Raises StorageError or ConfigError for what
    concerns the feed as a whole: a place that cannot be listed, a catalogue that is none.
    """
    found, unusable = _once(_entries(feed, since))
    yield from sorted(found, key=lambda scene: (scene.acquired or scene.updated or UNDATED, scene.key), reverse=True)
    yield from unusable


def _entries(feed: FeedConfig, since: datetime | None) -> Iterable[SceneToDo | Unusable]:
    kinds: dict[Kind, Callable[[], Iterable[SceneToDo | Unusable]]] = {
        "folder": lambda: _folder(feed),
        "list": lambda: scenes_of_list(feed),
        "static-stac": lambda: scenes_of_catalogue(feed),
        "stac-api": lambda: scenes_of_api(feed, since),
        "stac-geoparquet": lambda: _table(feed),
    }
    return kinds[feed.source.kind]()


def _folder(feed: FeedConfig) -> Iterator[SceneToDo | Unusable]:
    address = feed.source.address
    path = local_path(address)
    if path is None and not address.lower().startswith("s3://"):
        raise ConfigError(
            f"{shown(address)} cannot be listed for scenes: folders are listed on disks and at s3://; for a web server "
            "write a list of addresses (kind: list), or name its catalogue"
        )
    if path is not None and not path.is_dir():
        raise StorageError(f"the feed {feed.name}: there is no folder at {shown(address)}; check source.address")
    row = LAYOUTS.get(feed.source.layout)
    pays = row is not None and row.requester_pays
    if path is None:
        check_listable(address, pays=pays)

    def read_text(name: str) -> str | None:
        data = read_source(join(address, name), pays=pays)
        return None if data is None else data.decode("utf-8", "replace")

    yield from scenes_of_files(feed, list_objects(address, reading=True, pays=pays), read_text)


def _table(feed: FeedConfig) -> Iterator[SceneToDo | Unusable]:
    address = feed.source.address
    with fetched_file(address) as path:
        try:
            for item in read_items(path):
                if not feed.source.collections or item.get("collection") in feed.source.collections:
                    yield scene_of_item(feed, item, address)
        except (ValueError, OSError) as error:
            raise ConfigError(f"{shown(address)} is no stac-geoparquet table: {one_sentence(error)}") from error


def _once(entries: Iterable[SceneToDo | Unusable]) -> tuple[list[SceneToDo], list[Unusable]]:
    """Each key once. Of entries that a source repeats, the one changed last counts, and nothing is said; but of those
    that name other files by one id, the others are told of."""
    kept: dict[str, SceneToDo] = {}
    unusable: dict[str, Unusable] = {}
    for entry in entries:
        if isinstance(entry, Unusable):
            unusable.setdefault(entry.key, entry)
            continue
        other = kept.setdefault(entry.key, entry)
        if other is entry:
            continue
        newest, older = sorted((entry, other), key=lambda one: (one.updated or UNDATED, one.hint), reverse=True)
        kept[entry.key] = newest
        if newest.origin != older.origin:
            key = f"{entry.key}~2"
            reason = f"{quoted(entry.key)} names other files in a second entry, {quoted(older.origin[0])}: "
            unusable[key] = Unusable(
                key=key, reason=reason + "the one changed last is taken; give each an id of its own"
            )
    return list(kept.values()), [one for key, one in unusable.items() if key not in kept]
