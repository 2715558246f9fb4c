"""Where a local cluster keeps its files: Ray's sockets lie among them, and the path of a socket is short or refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ClusterError

LONGEST = 40
"""Characters of the longest folder whose sockets have names: 107 are let in, and Ray puts the rest behind it
(``/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.1``)."""
SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a folder of our own is made there
"""Where to go when the usual folder is too long."""


@contextlib.contextmanager
def session_folder() -> Iterator[str | None]:
    """A folder for a local cluster, gone afterwards; None where Ray's own choice will do (RAY_TMPDIR, TMPDIR, /tmp).

    Raises ClusterError when there is none.
    """
    usual = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(f"{usual}/ray")) <= LONGEST and Path(usual).is_absolute() and _is_writable(usual):
        yield None
        return
    place = next((short for short in SHORT if _is_writable(short)), None)
    if place is None:
        raise ClusterError(
            f"Ray cannot keep its sockets in {usual}, and none of {', '.join(SHORT)} can be written; set RAY_TMPDIR to "
            f"a folder that can, with a path of at most {LONGEST - 4} characters, or use --executor local"
        )
    folder = tempfile.mkdtemp(prefix="ray-", dir=place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # logs are still being written while processes end


def _is_writable(folder: str) -> bool:
    return Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)
