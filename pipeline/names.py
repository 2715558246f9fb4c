"""Names that people and files give to other things: scenes, areas, weights, folders. Judged before anything is opened.

GDAL takes far more than paths for a name: ``/vsicurl/…`` and its kin open addresses and archives, ``DRIVER:…`` opens
by way of another format, and a line break in a name makes two sentences of one message.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import urlsplit, urlunsplit

LONGEST = 4096
"""Characters of the longest name taken: Linux takes no longer path either."""

_SHOWN = 200


def complaint(name: str, *, allow_virtual: bool = False) -> str | None:
    """What is wrong with ``name``, as the end of a sentence, whatever it names; None for nothing."""
    if len(name) > LONGEST:
        return f"the name has {len(name)} characters, and no path or address has more than {LONGEST}"
    odd = next((letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")), None)
    if odd is not None:
        return f"the name holds U+{ord(odd):04X}, which no name may: rename it"
    if "://" in name and not _is_address(name):
        return "it is no address"
    if not allow_virtual and is_virtual(path_part(name)):
        return "this is the name of one of GDAL's virtual files, which can be any file or address"
    return None


def _is_address(name: str) -> bool:
    try:
        urlsplit(name)
    except ValueError:  # such as http://[
        return False
    return True


def is_virtual(path: str) -> bool:
    """Whether GDAL would take ``path`` for one of its virtual file systems, however many slashes and dots precede."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return path.startswith("/") and bool(parts) and parts[0].lower().startswith("vsi")


def path_part(name: str) -> str:
    """A local name or ``file://`` address without its scheme; the path of any other address is not a local one."""
    scheme, separator, rest = name.partition("://")
    if not separator or name.startswith("/"):
        return name
    return "/" + rest.lstrip("/") if scheme.lower() == "file" else ""


def shown(name: str) -> str:
    """``name`` as it may stand in a sentence: one line, of bounded length, without secrets."""
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in public_uri(name))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 4 :]}"


def public_uri(uri: str) -> str:
    """``uri`` without user, password and query, which may be credentials: what messages and records may show."""
    if "://" not in uri:
        return uri
    if not _is_address(uri):
        return uri.split("://", 1)[0] + "://…"
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
