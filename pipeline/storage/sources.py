"""What others own: feeds, catalogues and items, read with the rights that scenes are read with, and not our own."""

from __future__ import annotations

import time
from typing import Any

from pipeline.errors import redacted
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import attempt, remote
from pipeline.storage.files import read_file
from pipeline.storage.paths import local_path

_PASSING = (408, 425, 429)
"""Answers to a request that may be right in a while, among those that say that it is wrong."""
_LONGEST_WAIT_S = 60.0
"""Of what a server asks for with Retry-After, seconds."""


def read_source(uri: str, patience: Patience = PATIENCE, *, pays: bool = False) -> bytes | None:
    """A whole file of somebody else's; None when it is not there. What is refused is not asked for again, and a server
    that names a time to wait is waited for. ``pays``: who asks does. Raises StorageError when it cannot be read."""
    if local_path(uri) is not None:
        return read_file(uri)
    fs, target = remote(uri, reading=True, pays=pays)

    def whole() -> bytes | None:
        try:
            data: bytes = fs.cat_file(target)
        except FileNotFoundError:
            return None
        except Exception as error:
            status = getattr(error, "status", None)  # of the web client's own errors
            if status == 410:
                return None
            if isinstance(status, int) and 400 <= status < 500 and status not in _PASSING:
                raise PermissionError(f"the server refuses it (HTTP {status})") from error
            time.sleep(_asked_to_wait_s(error))
            raise
        return data

    return attempt(f"cannot read {redacted(uri)}", whole, patience=patience)


def check_listable(uri: str, patience: Patience = PATIENCE, *, pays: bool = False) -> None:
    """Raise StorageError, in a sentence that says which, for a bucket of S3 that is not there or whose list is denied.

    The client that lists says neither."""
    fs, root = remote(uri, reading=True, pays=pays)

    def look() -> None:
        bucket, _, prefix = root.partition("/")
        try:
            fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1, **fs.req_kw)
        except PermissionError as error:
            raise PermissionError("access is denied; check the credentials and what they may do there") from error
        except FileNotFoundError as error:
            raise FileNotFoundError("there is no such bucket") from error

    attempt(f"cannot list {redacted(uri)}", look, patience=patience)


def _asked_to_wait_s(error: Any) -> float:
    """Seconds of a Retry-After header; 0 where there is none, and for dates."""
    try:
        return min(_LONGEST_WAIT_S, max(0.0, float((getattr(error, "headers", None) or {}).get("Retry-After", 0))))
    except (TypeError, ValueError):
        return 0.0
