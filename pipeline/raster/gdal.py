"""GDAL's options, the formats it may read, and the errors it only signals."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from pipeline.config import RasterConfig
from pipeline.raster.addresses import is_remote
from pipeline.retrying import PATIENCE, Patience
from pipeline.threads import unwarned

DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
"""GDAL drivers that scenes may use (COG files are read by GTiff). A short list, because several others follow
references inside a file to any other file or address this machine can reach."""


def gdal_options(config: RasterConfig, remote: bool, patience: Patience = PATIENCE) -> dict[str, Any]:
    """Options of GDAL for one open or read. Credentials are left to the environment, which GDAL reads itself."""
    options: dict[str, Any] = {
        "GDAL_CACHEMAX": config.gdal_cache_mb * 1_000_000,
        # What goes wrong in a thread of OpenJPEG's is told there, and to nobody who asked. For files whose threads
        # tell, see :func:`pipeline.raster.tiff.threads`.
        "GDAL_NUM_THREADS": 1,
        # The short cut for whole PNGs takes one that was cut off for whole.
        "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
        # A thread of GDAL's own has no handler of ours: what it says would go to stderr, with addresses in it.
        "CPL_LOG": os.devnull,
    }
    if not remote:
        # Side-car files are looked for by name, not by listing the folder, which may hold a million others.
        return options | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
    payer = {"AWS_REQUEST_PAYER": "requester"} if config.requester_pays else {}
    return options | remote_options(patience) | payer


DAMAGE = (
    "Corrupt JPEG data",
    "Premature end of JPEG",
    "Inconsistent progression sequence",
    "Invalid SOS parameters",
    "buffer overrun",  # PackBits: a run that is longer than its line
    "Stream does not end with EOC",
    "EOC is also missing",
    "Stream too short",
    "possible loss of data",
    "inconsistent with stream length",
    "segment too long",
    "Expected SOP marker",
    "Expected EPH marker",
    "Not enough space for expected",
    "Did not get expected SOT marker",
    "Corrupted PPM",
)
"""Words of those warnings of GDAL's after which its pixels are not those of the file: libjpeg, libtiff and OpenJPEG go
on with what they have. Every other warning is a note."""
HARMLESS = ("Too large strip byte count", "Too large tile byte count")
"""Words of errors that libtiff signals and then gets by without: it reads as many bytes as can be of use."""
MOST_NOTES = 20


@dataclass(slots=True)
class _Listener:
    """Who listens: in which thread, to warnings of every kind or to damage alone; and what was heard."""

    thread: int
    warnings: bool
    heard: list[str] = field(default_factory=list)
    notes: set[str] | None = None

    def hear(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        warning = record.levelno == logging.WARNING or any(words in text for words in HARMLESS)
        if record.levelno < logging.WARNING and not text.startswith(SIGNALLED):
            return
        if self.warnings or not warning or (record.name == ERRORS_LOG and any(words in text for words in DAMAGE)):
            self.heard.append(text)
        elif self.notes is not None and len(self.notes) < MOST_NOTES:
            self.notes.add(remark(text))


def remark(text: str) -> str:
    """What GDAL says, without rasterio's words around it, and without numbers: a thousand lines make one note."""
    words = text.partition("msg=")[2].strip("'") or text.partition(":")[2] or text
    return re.sub(r"\b\d+\b", "N", words.replace("\\n", "")).strip()


class _Ear(logging.Filter):
    """Hears what GDAL signals in calls of ours, and keeps it out of the logs: it may hold a signed address.

    GDAL can signal an error inside a call that succeeds. Pixels from such a call are not to be trusted: a piece of a
    file's index that did not come reads as a hole in the scene. What others make GDAL say is logged as they want it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, _Listener] = {}
        self._lock, self._levels = threading.Lock(), dict.fromkeys(KEEN, logging.NOTSET)

    def filter(self, record: logging.LogRecord) -> bool:
        here = self._here()
        for listener in here if record.levelno >= KEEN[record.name] else ():
            listener.hear(record)
        theirs = self._levels[record.name] or logging.getLogger("rasterio").getEffectiveLevel()
        return not here and record.levelno >= theirs

    def forget(self) -> None:
        """What was heard so far has been dealt with."""
        for listener in self._here():
            listener.heard.clear()

    @contextlib.contextmanager
    def listening(self, *, warnings: bool = False, notes: set[str] | None = None) -> Iterator[list[str]]:
        """What GDAL signals in this thread in the block, blocks within it too: errors, warnings that mean DAMAGE, and
        all ``warnings`` when asked. The others go to ``notes``, numbers left out, at most MOST_NOTES."""
        mine = _Listener(threading.get_ident(), warnings, notes=notes)
        self._listeners[id(mine)] = mine
        self._tune()
        try:
            yield mine.heard
        finally:
            del self._listeners[id(mine)]
            self._tune()

    def _here(self) -> list[_Listener]:
        return [one for one in list(self._listeners.values()) if one.thread == threading.get_ident()]

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
KEEN = {ERRORS_LOG: logging.INFO, WARNINGS_LOG: logging.INFO}
"""rasterio's loggers that hand on what GDAL says, and the lowest level that matters."""
SIGNALLED = "GDAL signalled an error"
"""How an error begins that they log as information; warnings are logged as such."""
EAR = _Ear()


@contextlib.contextmanager
def gdal_environment(config: RasterConfig, uris: Sequence[str], patience: Patience = PATIENCE) -> Iterator[None]:
    """GDAL's options for calls of ours, gone afterwards; what it says goes to no log. Pixel scenes are no warning."""
    options = gdal_options(config, any(map(is_remote, uris)), patience)
    with EAR.listening(), rasterio.Env(**options), unwarned(NotGeoreferencedWarning):
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
