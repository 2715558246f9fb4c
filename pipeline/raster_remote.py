"""Scenes over the network: their addresses, GDAL's options for them, what went wrong, and when to try again.

Part of rasterio's home, see :mod:`pipeline.raster_files`.
"""

from __future__ import annotations

import base64
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
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
from pipeline.names import is_virtual, public_uri, shown
from pipeline.retrying import retried

_T = TypeVar("_T")

REFUSED_CREDENTIALS = (
    CPLE_AWSAccessDeniedError,
    CPLE_AWSInvalidCredentialsError,
    CPLE_AWSSignatureDoesNotMatchError,
)

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


def remote_options() -> dict[str, Any]:
    """Options of GDAL for remote files. Credentials are left to the environment, which GDAL reads itself."""
    return {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing, no requests for side-car files
        "GDAL_INGESTED_BYTES_AT_OPEN": 32768,  # the header of most COGs in the first request
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_HTTP_MULTIPLEX": "YES",
        # One range again at once is cheaper than the whole window; the patience is ours (pipeline.retrying).
        "GDAL_HTTP_MAX_RETRY": 2,
        "GDAL_HTTP_RETRY_DELAY": 0.25,
        "GDAL_HTTP_RETRY_CODES": "429,500,502,503,504",
        "GDAL_HTTP_CONNECTTIMEOUT": 10,
        "GDAL_HTTP_TIMEOUT": 120,
        "CPL_VSIL_CURL_CACHE_SIZE": 16_000_000,
        # Nothing is kept when a file is closed: else a cut answer stays a short file for the life of the process, and
        # a scene that was replaced on the store keeps its old header.
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    } | s3_endpoint_options(
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_S3_ENDPOINT")
    )


def s3_endpoint_options(endpoint: str | None) -> dict[str, Any]:
    """GDAL wants ``host:port`` and a switch for TLS where other tools take one address."""
    if not endpoint:
        return {}
    scheme, separator, host = endpoint.partition("://")
    if not separator:
        return {"AWS_VIRTUAL_HOSTING": os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE")}
    return {
        "AWS_S3_ENDPOINT": host.rstrip("/"),
        "AWS_HTTPS": "NO" if scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE"),
    }


class _Doubtful(Exception):
    """The server answers and the file cannot be read: it is damaged, or was on its way. ``verdict``: if it is."""

    def __init__(self, verdict: PipelineError) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


def steadily(uris: Sequence[str], action: Callable[[], _T]) -> _T:
    """``action``, which opens the files at ``uris`` itself, again from the start when something passing broke it.

    A store that is busy or cuts its answers is asked as often as :mod:`pipeline.retrying` says; a file that looks
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
        return retried(action, may_pass, ",".join(map(public_uri, uris)))
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
    """For the first byte; a user and password in the address become the header that urllib would not make of them."""
    parts = urlsplit(uri)
    headers = {"Range": "bytes=0-0"}
    user, at, host = parts.netloc.rpartition("@")
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    return urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers=headers)  # noqa: S310 - http(s)


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
