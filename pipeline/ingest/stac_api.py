"""STAC APIs. pystac-client's only home; the extra ``stac`` brings it.

No API tells what was changed or deleted, and its pages shift while items arrive (an item can stand on two, or on none).
So items are asked for in the order of their last change, each is taken once, and everything is asked for again until a
pass adds nothing.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import shapely

from pipeline.errors import ConfigError, StorageError, one_sentence
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.filters import area_in_degrees
from pipeline.ingest.item_scenes import scene_of_item
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.times import written
from pipeline.names import shown
from pipeline.storage.reaching import http_headers

MOST_PASSES = 5
"""A source that never comes to rest is listed so often in one tick; the next one goes on."""
MOST_REPEATED = 3
"""Pages in a row without an item that is new to the pass: a server that pages in a circle."""
MOST_EMPTY = 100
"""Pages in a row without any: servers that filter a page after they have cut it send some."""
LOOKBACK = timedelta(hours=48)
"""Entries appear so late after the time that they say they were changed at."""
TIMEOUT_S = 60.0
LONGEST_WAIT_S = 120.0
"""Of what a server asks for with Retry-After."""
TRIES = 5
BUSY = (429, 500, 502, 503, 504)


def scenes_of_api(feed: FeedConfig, since: datetime | None) -> list[SceneToDo | Unusable]:
    """The scenes of an API that lie in the filter's box and time, or of those only what changed after ``since``.

    Raises ConfigError without pystac-client, or for an address that is no API; StorageError when it fails.
    """
    try:
        import pystac_client
    except ImportError as error:
        raise ConfigError(
            "a feed of kind stac-api needs pystac-client: install kestrel-aerial with the extra stac"
        ) from error
    with _translated(feed, pystac_client.exceptions.APIError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a server does not conform to is asked for with care below
        try:
            reader = _reader(feed, pystac_client)
            client = pystac_client.Client.open(feed.source.address, stac_io=reader)
        except pystac_client.exceptions.APIError:
            raise
        except Exception as error:  # pystac's and json's, for what is no catalogue
            raise ConfigError(f"{shown(feed.source.address)} is no STAC API: {shown(one_sentence(error))}") from error
        if not client.conforms_to("ITEM_SEARCH") or client.get_single_link("search") is None:
            raise ConfigError(f"{shown(feed.source.address)} is no STAC API that can be searched; check source.address")
        return list(_until_at_rest(feed, since, client, reader))


def _until_at_rest(
    feed: FeedConfig, since: datetime | None, client: Any, reader: Any
) -> Iterator[SceneToDo | Unusable]:  # fmt: skip
    """Pass after pass, until one adds nothing."""
    known: set[str] = set()
    for _ in range(MOST_PASSES):
        before = len(known)
        for question in _questions(feed, since, client):
            yield from _pass(feed, _pages(feed, client.search(**question), reader), known)
        if len(known) == before:
            return


def _reader(feed: FeedConfig, pystac_client: Any) -> Any:
    """Asks again when the server is busy, after the time it names itself or growing pauses."""
    from urllib3 import Retry

    class Patient(Retry):
        def get_retry_after(self, response: Any) -> float | None:
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, LONGEST_WAIT_S)

    retry = Patient(total=TRIES, connect=2, backoff_factor=0.5, status_forcelist=BUSY, allowed_methods=None,
                  raise_on_status=False)  # fmt: skip
    headers = http_headers(feed.source.address)
    return pystac_client.stac_api_io.StacApiIO(headers=headers, timeout=TIMEOUT_S, max_retries=retry)


def _questions(feed: FeedConfig, since: datetime | None, client: Any) -> Iterator[dict[str, Any]]:
    """Searches that together are the feed: one, or one on either side of the antimeridian."""
    wanted, source = feed.filter, feed.source
    question: dict[str, Any] = {"limit": source.page_size}
    if source.collections:
        question["collections"] = list(source.collections)
    if wanted.since is not None or wanted.until is not None:
        question["datetime"] = [wanted.since, wanted.until]
    if client.conforms_to("SORT"):
        question["sortby"] = [{"field": "properties.updated", "direction": "asc"}, {"field": "id", "direction": "asc"}]
    if since is not None:
        changed = written(since - LOOKBACK)
        if client.conforms_to("QUERY"):
            question["query"] = {"updated": {"gte": changed}}
        elif client.conforms_to("FILTER"):
            question["filter_lang"] = "cql2-json"
            question["filter"] = {"op": ">=", "args": [{"property": "updated"}, {"timestamp": changed}]}
    boxes = list(_boxes(feed))
    yield from [{**question, "bbox": box} for box in boxes] or [question]


def _boxes(feed: FeedConfig) -> Iterator[list[float]]:
    """What the filter's box or area lies in: not all servers know boxes whose west is beyond their east."""
    wanted = feed.filter
    if wanted.bbox is None and wanted.area is None:
        return
    west, south, east, north = wanted.bbox or shapely.bounds(area_in_degrees(str(wanted.area))).tolist()
    east = east + 360.0 if east < west else east
    if east - west >= 360.0:
        yield [-180.0, south, 180.0, north]
        return
    turns = 360.0 * ((west + 180.0) // 360.0)
    west, east = west - turns, east - turns
    yield [west, south, min(east, 180.0), north]
    if east > 180.0:
        yield [-180.0, south, east - 360.0, north]


def _pages(feed: FeedConfig, search: Any, reader: Any) -> Iterator[list[Any]]:
    """The items of each page, to the last one. The client's own loop ends at an empty page, and at an answer that is
    none: what follows would be taken for gone. Raises StorageError for such an answer, and where pages stay empty."""
    href, method, headers, body = str(search.url), search.method, None, search.get_parameters()
    empty = 0
    while True:
        page = json.loads(reader.request(href, method, headers=headers, parameters=body))
        items = page.get("features") if isinstance(page, Mapping) else None
        empty = 0 if items else empty + 1
        if not isinstance(items, list) or empty > MOST_EMPTY:
            said = "an answer that is no page of items" if empty <= MOST_EMPTY else f"{empty} pages without an item"
            raise StorageError(f"the API {shown(feed.source.address)} sends {said}; try again later")
        if items:
            yield items
        link = next((one for one in _links(page) if one.get("rel") == "next"), None)
        if link is None:
            return
        href, method, headers = urljoin(href, link["href"]), link.get("method") or "GET", link.get("headers")
        given = link.get("body") or {}
        body = {**body, **given} if link.get("merge") else given


def _links(entry: Any) -> list[Mapping[str, Any]]:
    """Those of a page or an item that lead anywhere."""
    links = entry.get("links") if isinstance(entry, Mapping) else None
    return [
        one for one in (links if isinstance(links, list) else [])
        if isinstance(one, Mapping) and isinstance(one.get("href"), str)
    ]  # fmt: skip


def _pass(feed: FeedConfig, pages: Iterable[list[Any]], known: set[str]) -> Iterator[SceneToDo | Unusable]:
    """One listing: what is not ``known`` yet, item and state. Ends where pages go in a circle."""
    here: set[str] = set()
    repeated = 0
    for page in pages:
        before = len(here)
        for item in page:
            state = _state(item)
            here.add(state)
            if state not in known:
                known.add(state)
                if len(known) > feed.source.max_items:
                    raise ConfigError(
                        f"the API {shown(feed.source.address)} has more than {feed.source.max_items} items of this "
                        "feed; narrow filter or source.collections, or raise source.max_items"
                    )
                yield scene_of_item(feed, item, _address(item, feed.source.address))
        repeated = repeated + 1 if len(here) == before else 0
        if repeated >= MOST_REPEATED:
            return


def _state(item: Any) -> str:
    """What tells one state of one item from all others."""
    if not isinstance(item, Mapping):
        return repr(item)[:200]
    properties = item.get("properties")
    updated = properties.get("updated") if isinstance(properties, Mapping) else None
    return f"{item.get('collection')}/{item.get('id')} {updated}"


def _address(item: Any, api: str) -> str:
    """Where the item is to be had, by itself; its files are relative to that."""
    return next((str(one["href"]) for one in _links(item) if one.get("rel") == "self"), api)


@contextmanager
def _translated(feed: FeedConfig, failure: type[Exception]) -> Iterator[None]:
    """What the client raises, as ours."""
    where = shown(feed.source.address)
    try:
        yield
    except failure as error:
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500 and status not in BUSY:
            raise ConfigError(
                f"the API {where} refuses the question (HTTP {status}: {shown(one_sentence(error))}); check "
                "source.address and source.collections"
            ) from error
        raise StorageError(f"the API {where} does not answer as it should: {shown(one_sentence(error))}") from error
    except json.JSONDecodeError as error:
        raise StorageError(f"the API {where} sends a page that is no JSON; try again later") from error
