"""Names of places: paths of this machine or addresses of another, and what lies inside them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import ConfigError


def local_path(uri: str) -> Path | None:
    """The path that ``uri`` means on this machine, or None when it is the address of something else.

    Raises ConfigError for the home folder of somebody unknown.
    """
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    if "://" in uri or "::" in uri:
        return None
    try:
        return Path(uri).expanduser()
    except RuntimeError as error:  # ~ of a user whom nobody knows
        raise ConfigError(f"{uri}: there is no such home folder on this machine; check the path") from error


def is_local(uri: str) -> bool:
    """Whether ``uri`` means a path on this machine."""
    return local_path(uri) is not None


def join(uri: str, *names: str) -> str:
    """The address of something in the folder ``uri``."""
    return "/".join([uri.rstrip("/"), *names])
