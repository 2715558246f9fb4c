"""What a job does of a scene by itself, within a limit: a file may keep GDAL busy for hours over a few kilobytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import SceneError, SceneUnreadable, StorageError
from pipeline.names import public_uri
from pipeline.raster.addresses import is_remote, split_uris
from pipeline.threads import LOOK_UP_S, look_up

_T = TypeVar("_T")


def in_time(action: Callable[[], _T], uri: str, doing: str, limit_s: float) -> _T:
    """What ``action`` returns or raises, if that takes no longer than ``limit_s``.

    Otherwise SceneUnreadable (StorageError for a remote scene); ``action`` goes on in a thread of its own until it
    ends or the process does, for nothing can interrupt GDAL. Raises Halted when this thread is told to stop.
    """
    answers: list[_T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(action())
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            errors.append(error)

    thread = threading.Thread(target=work, name=f"{doing} {uri}", daemon=True)
    thread.start()
    until = time.monotonic() + limit_s
    while thread.is_alive() and (left_s := until - time.monotonic()) > 0:
        thread.join(min(left_s, LOOK_UP_S))
        look_up()
    if thread.is_alive():
        remote = any(map(is_remote, split_uris(uri)))
        error: type[SceneError] | type[StorageError] = StorageError if remote else SceneUnreadable
        raise error(
            f"{public_uri(uri)}: {doing} did not end within {limit_s:g} s (cluster.deadline_s); rewrite it with "
            f"gdal_translate -of COG, or give it more time"
        )
    if errors:
        raise errors[0]
    return answers[0]
