"""Addresses in catalogues: relative to where they were read, and none that makes this machine open its own files."""

from __future__ import annotations

import posixpath
from urllib.parse import urlsplit

from pipeline.errors import SceneUnreadable
from pipeline.names import complaint, shown
from pipeline.raster.addresses import vsi_path
from pipeline.storage.paths import is_local


def resolved(base: str, href: str) -> str:
    """``href`` as the document at ``base`` means it, whatever file system that lies on. The query stays."""
    if "://" in href:
        return href
    scheme, separator, rest = base.partition("://")
    if not separator:
        return href if href.startswith("/") else posixpath.normpath(posixpath.join(posixpath.dirname(base), href))
    if href.startswith("//"):
        return f"{scheme}:{href}"
    place, _, path = rest.partition("?")[0].partition("#")[0].partition("/")
    asked, question, query = href.partition("?")
    whole = asked if asked.startswith("/") else posixpath.join(posixpath.dirname(f"/{path}"), asked)
    return f"{scheme}://{place}/{posixpath.normpath(whole).lstrip('/')}{question}{query}"


def why_not_read(base: str | None, uri: str) -> str | None:
    """Why a file that an entry names is not to be read as a scene, as the end of a sentence; None where it is.

    ``base``: where the entry was read; None for what somebody on this machine wrote.
    """
    reason = complaint(uri)
    if reason is not None:
        return f"names {shown(uri)}, which is refused: {reason}"
    if base is not None and is_local(uri) and not is_local(base):
        return f"names {shown(uri)}, a file of this machine, though it comes from elsewhere"
    try:
        vsi_path(uri)
    except SceneUnreadable as error:
        return f"names a file that cannot be read: {error}"
    return None


def without_commas(uri: str) -> str | None:
    """``uri`` so that commas can join it with others; None where a comma is part of a name that knows no other."""
    if "," not in uri:
        return uri
    return uri.replace(",", "%2C") if urlsplit(uri).scheme in ("http", "https") else None
