"""What names of scenes mean: addresses, GDAL's names of them, one scene in several files, and the id of a scene."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.config import RasterConfig
from pipeline.errors import SceneNotFound, SceneUnreadable
from pipeline.names import complaint, is_virtual, shown


def check_name(uri: str, config: RasterConfig) -> None:
    """Raise SceneUnreadable for a name that no scene may have (see :mod:`pipeline.names`)."""
    reason = complaint(uri, allow_virtual=config.allow_vsi)
    if reason is None and uri.lower().startswith("file://"):
        reason = complaint(vsi_path(uri))  # what the percent signs stand for
    if reason is not None:
        remedy = "; if you trust it, --raster.allow_vsi true reads it all the same" if is_virtual(uri) else ""
        raise SceneUnreadable(f"{shown(uri)} is refused: {reason}{remedy}")


def split_uris(uri: str) -> tuple[str, ...]:
    """The files of one scene. A local file whose name holds a comma is one file."""
    if "," in uri and "://" not in uri and _is_there(uri):
        return (uri,)
    uris = tuple(part.strip() for part in uri.split(",") if part.strip())
    if not uris:
        raise SceneNotFound("the name of a scene is empty; give a path or an address")
    return uris


def scene_id_of(uris: Sequence[str]) -> str:
    """A folder name from the file stem(s): letters, digits, dot, dash and underscore, at most 120 characters."""
    stems = [Path(_path_of(uri)).stem for uri in uris]
    words = [stem.split("_") for stem in stems]
    shared = 0
    while len(stems) > 1 and len({tuple(word[: shared + 1]) for word in words}) == 1 and shared < len(words[0]):
        shared += 1
    name = "_".join([*words[0][:shared], "-".join("_".join(word[shared:]) for word in words)])
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:120] or "scene"


def _is_there(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # a name no file can have
        return False


def _path_of(uri: str) -> str:
    try:
        return urlsplit(uri).path if "://" in uri else uri
    except ValueError:  # no address at all, such as http://[
        return uri


REMOTE_PREFIX = {"https": "/vsicurl/https:", "http": "/vsicurl/http:", "s3": "/vsis3/"}


def vsi_path(uri: str) -> str:
    """The name GDAL knows ``uri`` by. Raises SceneUnreadable for a scheme that scenes are not read from."""
    scheme, separator, rest = uri.partition("://")
    if not separator or is_virtual(uri):
        return uri if is_virtual(uri) else _absolute(uri)
    scheme = scheme.lower()
    if scheme == "file":
        return "/" + unquote(rest).lstrip("/")
    if scheme == "s3":
        return REMOTE_PREFIX["s3"] + rest
    if scheme in REMOTE_PREFIX:
        return f"{REMOTE_PREFIX[scheme]}//{rest}"
    raise SceneUnreadable(
        f"{shown(uri)}: scenes are read from local paths, file://, https://, http:// and "
        f"s3://, not {scheme}://; copy the file to one of these"
    )


def is_remote(uri: str) -> bool:
    """True when ``uri`` is read over the network, or by another of GDAL's virtual file systems."""
    return vsi_path(uri).startswith("/vsi")


def _absolute(name: str) -> str:
    """A local name from the root on: before a relative one GDAL may see the name of a driver, as in ``VRT:x``."""
    try:
        return str(Path(name).expanduser().absolute())
    except RuntimeError as error:  # ~ of a user whom nobody knows
        raise SceneNotFound(f"{shown(name)}: there is no such home folder on this machine; check the path") from error
