"""GDAL's options, the formats it may read, and the errors it only signals."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from pipeline.config import RasterConfig
from pipeline.raster.addresses import is_remote
from pipeline.retrying import PATIENCE, Patience

DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
"""GDAL drivers that scenes may use (COG files are read by GTiff). A short list, because several others follow
references inside a file to any other file or address this machine can reach."""


def gdal_options(config: RasterConfig, remote: bool, patience: Patience = PATIENCE) -> dict[str, Any]:
    """Options of GDAL for one open or read. Credentials are left to the environment, which GDAL reads itself."""
    options: dict[str, Any] = {
        "GDAL_CACHEMAX": config.gdal_cache_mb * 1_000_000,
        # With a second thread GDAL decodes a window's blocks straight into our array, past its cache: a quarter less
        # processor time even where both threads share a core.
        "GDAL_NUM_THREADS": 2,
    }
    if not remote:
        # Side-car files are looked for by name, not by listing the folder, which may hold a million others.
        return options | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
    return options | remote_options(patience)


class _Ear(logging.Filter):
    """Hears what GDAL signals in calls of ours, and keeps it out of the logs: it may hold a signed address.

    GDAL can signal an error inside a call that succeeds. Pixels from such a call are not to be trusted: a piece of a
    file's index that did not come reads as a hole in the scene. What others make GDAL say is logged as they want it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, tuple[int, list[str], set[str]]] = {}  # thread, words heard, the loggers it hears
        self._lock, self._levels = threading.Lock(), dict.fromkeys(KEEN, logging.NOTSET)

    def filter(self, record: logging.LogRecord) -> bool:
        here = self._here()
        for _, heard, loggers in here:
            if record.name in loggers and record.levelno >= KEEN[record.name]:
                heard.append(record.getMessage())
        theirs = self._levels[record.name] or logging.getLogger("rasterio").getEffectiveLevel()
        return not here and record.levelno >= theirs

    def forget(self) -> None:
        """What was heard so far has been dealt with."""
        for _, heard, _ in self._here():
            heard.clear()

    @contextlib.contextmanager
    def listening(self, *, warnings: bool = False) -> Iterator[list[str]]:
        """What GDAL signals in this thread in the block, blocks within it too: errors, and ``warnings`` when asked."""
        mine = (threading.get_ident(), list[str](), set(KEEN) if warnings else {ERRORS_LOG})
        self._listeners[id(mine)] = mine
        self._tune()
        try:
            yield mine[1]
        finally:
            del self._listeners[id(mine)]
            self._tune()

    def _here(self) -> list[tuple[int, list[str], set[str]]]:
        return [one for one in list(self._listeners.values()) if one[0] == threading.get_ident()]

    def _tune(self) -> None:
        """Have rasterio hand on what matters while anybody listens, and put its loggers back afterwards."""
        with self._lock:
            for logger in map(logging.getLogger, KEEN):
                if self in logger.filters and not self._listeners:
                    logger.removeFilter(self)
                    logger.setLevel(self._levels[logger.name])
                elif self not in logger.filters and self._listeners:
                    self._levels[logger.name] = logger.level
                    logger.addFilter(self)
                    logger.setLevel(min(KEEN[logger.name], logger.getEffectiveLevel()))


ERRORS_LOG, WARNINGS_LOG = "rasterio._err", "rasterio._env"
KEEN = {ERRORS_LOG: logging.INFO, WARNINGS_LOG: logging.WARNING}
"""rasterio's loggers that hand on what GDAL says, and the lowest level that matters."""
EAR = _Ear()


@contextlib.contextmanager
def gdal_environment(config: RasterConfig, uris: Sequence[str], patience: Patience = PATIENCE) -> Iterator[None]:
    """GDAL's options for calls of ours, gone afterwards; what it says goes to no log. Pixel scenes are no warning."""
    options = gdal_options(config, any(map(is_remote, uris)), patience)
    with EAR.listening(), rasterio.Env(**options), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def remote_options(patience: Patience) -> dict[str, Any]:
    """Options of GDAL for remote files. Credentials are left to the environment, which GDAL reads itself."""
    return {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing, no requests for side-car files
        "GDAL_INGESTED_BYTES_AT_OPEN": 32768,  # the header of most COGs in the first request
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_HTTP_MULTIPLEX": "YES",
        "GDAL_HTTP_MAX_RETRY": patience.range_retries,
        "GDAL_HTTP_RETRY_DELAY": patience.range_pause_s,
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
