"""What a feed holds: its scenes, each once, newest first; and what in it is none, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pipeline.errors import StorageError
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.file_scenes import scenes_of_files
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.names import quoted
from pipeline.storage.conditional import list_objects
from pipeline.storage.files import read_file
from pipeline.storage.paths import join, local_path

UNDATED = datetime.min.replace(tzinfo=UTC)


def scenes(feed: FeedConfig, since: datetime | None = None) -> Iterator[SceneToDo | Unusable]:
    """Every scene of the feed, once for each key, newest first where times are known; what is none comes last.

    ``since``: a hint that changes before it were seen; feeds that can be asked for changes alone then are, from
    ``source.lookback_h`` before it on. One bad entry is an Unusable. Raises StorageError or ConfigError for what
    concerns the feed as a whole: a place that cannot be listed, a catalogue that is none.
    """
    found, unusable = _once(_entries(feed, since))
    yield from sorted(found, key=lambda scene: (scene.acquired or scene.updated or UNDATED, scene.key), reverse=True)
    yield from unusable


def _entries(feed: FeedConfig, since: datetime | None) -> Iterator[SceneToDo | Unusable]:
    address = feed.source.address
    path = local_path(address)
    if path is not None and not path.is_dir():
        raise StorageError(f"the feed {feed.name}: there is no folder at {address}; check source.address")

    def read_text(name: str) -> str | None:
        data = read_file(join(address, name))
        return None if data is None else data.decode("utf-8", "replace")

    yield from scenes_of_files(feed, list_objects(address), read_text)


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
