"""Signatures of sources that hand them out for an hour: asked for when a scene is about to be read, not when listed.

The Planetary Computer gives one for each container of its storage, to anybody
(planetarycomputer.microsoft.com/docs/concepts/sas): ``GET {service}/{account}/{container}``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import StorageError
from pipeline.ingest.scene_to_do import SceneToDo
from pipeline.ingest.times import moment
from pipeline.names import shown
from pipeline.raster.addresses import split_uris
from pipeline.storage.sources import read_source

BLOBS = ".blob.core.windows.net"
LEFT = timedelta(minutes=20)
"""A signature that lasts less long is not begun with: reading a scene takes its time."""
MASK = "raster.mask_file"

_SIGNATURES: dict[str, tuple[str, datetime]] = {}
"""Address that gives a signature → the one it gave last, and when that ends."""


def signed(scene: SceneToDo) -> SceneToDo:
    """The scene with signatures on those of its files that want one; itself where none does.

    Files that the service has none for are read without: where that is refused, it is said of this scene alone. Raises
    StorageError when the service does not answer, or says something strange.
    """
    if scene.signer is None:
        return scene
    uris = [_signed(uri, scene.signer) for uri in split_uris(scene.uri)]
    settings: dict[str, Any] = dict(scene.settings)
    if settings.get(MASK):
        settings[MASK] = _signed(settings[MASK], scene.signer)
    return replace(scene, uri=",".join(uris), settings=settings)


def _signed(uri: str, service: str) -> str:
    parts = urlsplit(uri)
    host, container = parts.hostname or "", parts.path.strip("/").partition("/")[0]
    if not host.endswith(BLOBS) or parts.query or not container:
        return uri
    signature = _signature(f"{service}/{host.removesuffix(BLOBS)}/{container}")
    return uri if signature is None else f"{uri}?{signature}"


def _signature(address: str) -> str | None:
    known = _SIGNATURES.get(address)
    if known is None or known[1] - datetime.now(UTC) < LEFT:
        known = _asked(address)
        if known is None:
            return None
        _SIGNATURES[address] = known
    return known[0]


def _asked(address: str) -> tuple[str, datetime] | None:
    """A signature, and when it ends; None for a container that the service does not know, or refuses."""
    try:
        data = read_source(address)
    except StorageError as error:
        if isinstance(error.__cause__, PermissionError):
            return None
        raise
    if data is None:
        return None
    try:
        content = json.loads(data)
        token, ends = content["token"], moment(content.get("msft:expiry"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{shown(address)} gives no signature; try again later") from error
    return str(token).lstrip("?"), ends or datetime.now(UTC) + 2 * LEFT
