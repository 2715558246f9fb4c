"""What names of scenes mean: addresses, GDAL's names of them, one scene in several files, and the id of a scene."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.config import RasterConfig
from pipeline.errors import SceneNotFound, SceneUnreadable
from pipeline.names import complaint, is_virtual, public_uri, shown

LONGEST_ID = 120
HASH_DIGITS = 10
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""No folder on Windows, on its shares, or on a disk that it wrote may have such a name."""
PERMISSIONS = re.compile(
    r"x-(amz|goog|ms|oss|cos)-.*|awsaccesskeyid|googleaccessid|key-pair-id|policy|signature|expires|.*token|.*key|sig|"
    r"s[a-z]{1,2}|sk(oid|tid|t|e|s|v)|auth.*|user|pass.*|pwd|hash|hmac",
    re.IGNORECASE,
)
"""Names of query parameters that sign an address or let somebody in (S3, Google, Azure, CloudFront, tile servers)."""


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


def scene_id_of(uris: Sequence[str], template: str = "{stem}") -> str:
    """A folder name for a scene: ASCII letters, digits, dot, dash and underscore, at most 120 characters.

    ``template`` may hold ``{stem}`` (of the file, or what several have in common and what not), ``{parent}`` (the
    folder's name) and ``{hash}`` (of :func:`origin_of`). Where letters or digits were lost, a hash of the whole name
    keeps apart what would be one: the same name gives the same id, composed or decomposed. What Windows keeps for
    devices is never an id.
    """
    origins = origin_of(uris)
    parent = PurePosixPath(_path_of(origins[0])).parent.name or urlsplit(origins[0]).netloc
    values = {"stem": _stem(uris), "parent": parent, "hash": _short("\n".join(origins))}
    name = unicodedata.normalize("NFC", template.format(**values))
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")
    cut = safe[:LONGEST_ID].rstrip("._-")
    reserved = DEVICES.fullmatch(cut) is not None
    if cut and cut == safe and not reserved and name.isascii():
        return cut
    known = f"scene-{cut}" if reserved else cut or "scene"
    return f"{known[: LONGEST_ID - HASH_DIGITS - 1].rstrip('._-')}-{_short(name)}"


def origin_of(uris: Sequence[str]) -> tuple[str, ...]:
    """Where a scene comes from, file by file, without secrets: who finds another origin has found another scene.

    Local names are absolute. Of a query, what may sign or permit is left out, for it changes from day to day; what is
    left may name the scene (``?id=7``) and stands there as a hash.
    """
    return tuple(map(_origin, uris))


def _origin(uri: str) -> str:
    if "://" not in uri or is_virtual(uri):
        return uri if is_virtual(uri) else os.path.normpath(Path(uri).absolute())
    if uri.lower().startswith("file://"):
        return os.path.normpath(vsi_path(uri))
    try:
        asked = [pair for pair in parse_qsl(urlsplit(uri).query) if not PERMISSIONS.fullmatch(pair[0])]
    except ValueError:  # no address at all, such as http://[
        asked = []
    return public_uri(uri) + (f"?{_short(repr(sorted(asked)))}" if asked else "")


def _stem(uris: Sequence[str]) -> str:
    """The file stem, or what the stems of several files begin with, and then how each goes on."""
    stems = [Path(_path_of(uri)).stem for uri in uris]
    words = [stem.split("_") for stem in stems]
    shared = 0
    while len(stems) > 1 and len({tuple(word[: shared + 1]) for word in words}) == 1 and shared < len(words[0]):
        shared += 1
    return "_".join([*words[0][:shared], "-".join("_".join(word[shared:]) for word in words)])


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]


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
