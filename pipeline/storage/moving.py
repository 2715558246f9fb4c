"""Single files of any size between this machine and wherever they lie."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from pipeline.errors import redacted
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.clients import attempt, remote, translated
from pipeline.storage.files import unless_unknown
from pipeline.storage.paths import local_path


def local_copy(uri: str, folder: Path, patience: Patience = PATIENCE) -> Path:
    """The file at ``uri`` on this machine: itself where it lies here, else a copy in ``folder``.

    Raises StorageError when it cannot be read.
    """
    path = local_path(uri)
    if path is not None:
        return path
    fs, source = remote(uri)
    target = folder / uuid.uuid4().hex
    attempt(f"cannot read {redacted(uri)}", fs.get_file, source, str(target), patience=patience)
    return target


def put_file(path: Path, uri: str, patience: Patience = PATIENCE) -> None:
    """Copy a file to ``uri``: a reader there sees all of it or none. Raises StorageError."""
    target = local_path(uri)
    if target is None:
        fs, place = remote(uri)
        attempt(f"cannot write {redacted(uri)}", fs.put_file, str(path), place, patience=patience)
        return
    with translated(f"cannot write {uri}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.part")
        try:
            shutil.copyfile(path, part)
            with part.open("rb") as file, unless_unknown():
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
