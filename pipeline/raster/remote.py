"""Scenes over the network: what went wrong, and when to try again."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from rasterio._err import (
    CPLE_AWSAccessDeniedError,
    CPLE_AWSBucketNotFoundError,
    CPLE_AWSInvalidCredentialsError,
    CPLE_AWSObjectNotFoundError,
    CPLE_AWSSignatureDoesNotMatchError,
    CPLE_OpenFailedError,
)

from pipeline.errors import PipelineError, SceneNotFound, SceneUnreadable, StorageError
from pipeline.names import public_uri
from pipeline.raster.addresses import is_remote
from pipeline.retrying import PATIENCE, Patience, retried
from pipeline.storage.reaching import http_headers

_T = TypeVar("_T")

REFUSED_CREDENTIALS = (
    CPLE_AWSAccessDeniedError,
    CPLE_AWSInvalidCredentialsError,
    CPLE_AWSSignatureDoesNotMatchError,
)


class _Doubtful(Exception):
    """The server answers and the file cannot be read: it is damaged, or was on its way. ``verdict``: if it is."""

    def __init__(self, verdict: PipelineError) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


def steadily(uris: Sequence[str], action: Callable[[], _T], patience: Patience = PATIENCE) -> _T:
    """``action``, which opens the files at ``uris`` itself, again from the start when something passing broke it.

    A store that is busy or cuts its answers is asked as often as ``patience`` says; a file that looks
    damaged though its server answers is believed so the second time.
    """
    doubts: list[_Doubtful] = []

    def may_pass(error: Exception) -> bool:
        if isinstance(error, _Doubtful):
            doubts.append(error)
            return len(doubts) < 2
        return isinstance(error, StorageError)

    if not any(map(is_remote, uris)):
        return action()
    try:
        return retried(action, may_pass, ",".join(map(public_uri, uris)), patience)
    except _Doubtful as doubt:
        raise doubt.verdict from doubt.__cause__


def remote_failure(uri: str, error: Exception, drivers: Sequence[str]) -> PipelineError | _Doubtful:
    """Why a remote file cannot be opened, as one of our errors; raise it inside :func:`steadily`."""
    if uri.lower().startswith(("http://", "https://")):
        return _http_failure(uri, drivers)
    shown, cause = public_uri(uri), error.__cause__ or error.__context__
    if isinstance(cause, CPLE_AWSObjectNotFoundError | CPLE_AWSBucketNotFoundError):
        return SceneNotFound(f"{shown}: the store says there is no such object or bucket; check the address")
    if isinstance(cause, REFUSED_CREDENTIALS):
        return SceneUnreadable(
            f"{shown}: the store refuses these credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            f"AWS_SESSION_TOKEN in the environment (AWS_NO_SIGN_REQUEST=YES for public buckets)"
        )
    if isinstance(cause, CPLE_OpenFailedError):
        return _Doubtful(
            SceneUnreadable(
                f"{shown} is damaged or no raster of an allowed format ({', '.join(drivers)}), or AWS_* in the "
                f"environment does not reach it; check the object and the endpoint"
            )
        )
    return StorageError(f"{shown}: the store does not answer as it should; check AWS_ENDPOINT_URL and try again later")


def _question(uri: str) -> urllib.request.Request:
    """For the first byte, with what GDAL would show; a user in the address becomes the header that urllib wants.

    None of it goes to where the server may send us on to.
    """
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers={"Range": "bytes=0-0"})  # noqa: S310 - http(s)
    headers = http_headers(uri)
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    return request


def _http_failure(uri: str, drivers: Sequence[str]) -> PipelineError | _Doubtful:
    """Ask the server itself: GDAL's classes do not tell a missing file from a server without range requests."""
    shown = public_uri(uri)
    request = _question(uri)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            ranges = answer.status == 206
    except urllib.error.HTTPError as refusal:
        code = refusal.code
        refusal.close()
        if code in (404, 410):
            return SceneNotFound(f"{shown}: the server says there is no such file (HTTP {code}); check the address")
        if code < 500:
            return SceneUnreadable(f"{shown}: the server refuses it (HTTP {code}); check the permissions")
        return StorageError(f"{shown}: the server failed (HTTP {code}); try again later")
    except OSError as failure:
        return StorageError(f"{shown}: the server does not answer ({failure}); check the address and the network")
    if not ranges:
        return SceneUnreadable(
            f"{shown}: the server sends only whole files (no HTTP range requests); download the file first and name "
            f"the local copy"
        )
    return _Doubtful(
        SceneUnreadable(f"{shown} is damaged or no raster of an allowed format ({', '.join(drivers)}); check the file")
    )
