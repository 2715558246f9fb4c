"""JSON documents of a catalogue, several at a time, in the order asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError, StorageError, one_sentence
from pipeline.ingest.scene_to_do import LINKS, MISSING, Unusable, scene_key
from pipeline.names import public_uri, shown
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.sources import read_source

AT_ONCE = 8
"""Documents asked for at a time: a static catalogue has one for each scene, and most of the time is waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document, or why there is none."""

    href: str
    content: Any = None
    lacking: str | None = None
    """One sentence, for good: it is not there, it is refused, it is no JSON."""
    missing: bool = False
    """It is not there: what it held is gone."""
    failure: StorageError | None = None
    """What may pass."""

    def unusable(self, feed: str) -> Unusable | None:
        """The entry of a document that says nothing; None for one that does."""
        reason = self.lacking or (None if self.failure is None else one_sentence(self.failure))
        if reason is None:
            return None
        return Unusable(key=scene_key(feed, MISSING if self.missing else LINKS, public_uri(self.href)), reason=reason)


def read_documents(hrefs: Sequence[str], patience: Patience = PATIENCE) -> Iterator[Document]:
    """The documents at ``hrefs``. Whatever becomes of one, the others come."""
    if len(hrefs) == 1:
        yield read_document(hrefs[0], patience)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda href: read_document(href, patience), hrefs)


def read_document(href: str, patience: Patience = PATIENCE) -> Document:
    """The document at ``href``, read with the rights that scenes are read with."""
    try:
        data = read_source(href, patience)
    except StorageError as error:
        if isinstance(error.__cause__, PermissionError):
            return Document(href=href, lacking=one_sentence(error))
        return Document(href=href, failure=error)
    except ConfigError as error:  # no address of a kind that can be read
        return Document(href=href, lacking=one_sentence(error))
    if data is None:
        return Document(href=href, lacking=f"there is nothing at {shown(href)}", missing=True)
    try:
        return Document(href=href, content=json.loads(data))
    except (ValueError, RecursionError):  # UnicodeDecodeError is one; brackets a thousand deep
        return Document(href=href, lacking=f"{shown(href)} is no JSON")
