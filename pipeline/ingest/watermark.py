"""How far back a feed must be listed: all of it, or what has changed since everything older was finished with.

Only catalogues that can be asked for changes (an API) are. What they no longer hold shows in a full listing alone, so
there is one every week; and whenever the feed file, or a person's ``--retry``, makes older scenes matter again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.ingest.entry import Entry, State
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.survey import Survey
from pipeline.storage.files import read_file, write_file
from pipeline.storage.paths import join

ASKED_FOR_CHANGES = "stac-api"
"""Kind of the feeds that can be."""
FULL_EVERY = timedelta(days=7)
UNFINISHED = (State.NEW, State.CLAIMED, State.FAILED)
FEEDS = "feeds"
"""Folder in the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """What a feed's listings have come to. It is a hint: the ledger is the truth."""

    since: datetime | None
    """All that changed before is finished with; None: nothing is known to be."""
    full: datetime | None
    """When all of it was listed last, by the clock of the store."""
    about: str
    """Digest of the source and the filter."""


def digest(feed: FeedConfig) -> str:
    """Changes when other scenes may be wanted."""
    return hashlib.sha256(repr((feed.source, feed.filter)).encode()).hexdigest()[:16]


def since_when(feed: FeedConfig, known: Watermark | None, now: datetime) -> datetime | None:
    """From when on a tick lists; None: all there is."""
    if feed.source.kind != ASKED_FOR_CHANGES or known is None or known.since is None or known.full is None:
        return None
    stale = not timedelta(0) <= now - known.full < FULL_EVERY
    return None if stale or known.about != digest(feed) else known.since


def next_mark(feed: FeedConfig, found: Survey, known: Watermark | None, unfinished: Iterable[Entry],
              now: datetime) -> Watermark:  # fmt: skip
    """After a listing that came to its end. ``unfinished``: what the ledger has of the feed in one of UNFINISHED, and
    what the tick did not come to; those whose time nobody tells hold the mark back, as the oldest of the others does.
    """
    times = [None if one.updated is None else datetime.fromisoformat(one.updated) for one in unfinished]
    before = known.since if known is not None and found.since is not None else None
    latest = max(filter(None, (found.latest, before)), default=None)
    full = now if found.since is None else known.full if known is not None else None
    since = None if None in times or latest is None else min([latest, *filter(None, times)])
    return Watermark(since=since, full=full, about=digest(feed))


def read_watermark(ledger: Ledger, feed: FeedConfig) -> Watermark | None:
    """What stands in the ledger; None where there is none, or something strange. Raises StorageError."""
    try:
        content: Any = json.loads(read_file(_uri(ledger, feed)) or b"{}")
        times = {name: datetime.fromisoformat(content[name]) if content[name] else None for name in ("since", "full")}
        if any(time is not None and time.tzinfo is None for time in times.values()):
            return None
        return Watermark(since=times["since"], full=times["full"], about=str(content["about"]))
    except (ValueError, KeyError, TypeError):
        return None


def write_watermark(ledger: Ledger, feed: FeedConfig, mark: Watermark) -> None:
    """Raises StorageError. Of two ticks the last word stands: each is right by itself."""
    times = {
        name: None if when is None else when.isoformat() for name, when in (("since", mark.since), ("full", mark.full))
    }
    write_file(_uri(ledger, feed), json.dumps({**times, "about": mark.about}).encode())


def _uri(ledger: Ledger, feed: FeedConfig) -> str:
    return join(ledger.folder, FEEDS, f"{feed.name}.json")
