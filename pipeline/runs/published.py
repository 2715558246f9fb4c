"""What is published already: whether a result lies there that was made of the same scene, in the same way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import ConfigError, redacted
from pipeline.names import shown
from pipeline.raster.addresses import origin_of
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.files import file_names, json_object, read_file
from pipeline.storage.folders import MANIFEST
from pipeline.storage.paths import join, local_path

RECORD = "run.json"
"""The record of a run, one of the files of its result."""


OURS = re.compile(r"(detections|failures|preview|attention|difference|run|manifest)\.[a-z]+|_work|\..*")
"""What a result that broke off while it was uploaded may consist of."""


def last_record(out_uri: str, scene_id: str, patience: Patience = PATIENCE) -> Mapping[str, Any]:
    """The record of whatever a run has written to the scene's folder last; empty when there is none.

    Raises ConfigError when the place is taken by a file, StorageError when the store fails.
    """
    folder = join(out_uri, scene_id)
    path = local_path(folder)
    if path is not None and path.exists() and not path.is_dir():
        raise ConfigError(
            f"{redacted(folder)}, where the folder of this scene belongs, is a file; choose another --out or --scene-id"
        )
    return json_object(read_file(join(folder, RECORD), patience))


def check_owner(record: Mapping[str, Any], uris: Sequence[str], out_uri: str, scene_id: str, *, force: bool) -> bool:
    """Raise ConfigError when the folder of the scene at ``uris`` holds what only a person may replace.

    That is the result of another scene, unless by ``force``, and files that no run has written, come what may: the
    folder is exchanged as a whole. Returns whether anything lies there at all.
    """
    folder = join(out_uri, scene_id)
    own = "give this scene a name of its own with --scene-id, as in '{parent}_{stem}' or '{stem}-{hash}'"
    if record:
        came = record.get("origin") or origin_of(record.get("scene", {}).get("uris", ()))
        if tuple(came) != origin_of(uris) and not force:
            raise ConfigError(
                f"{redacted(folder)} holds the result of {shown(', '.join(came)) or 'an unknown scene'}, and this is "
                f"{shown(', '.join(origin_of(uris)))}; nothing was replaced: {own}, or, when it is the same scene that "
                "was moved, or the other result may go, replace it with --force"
            )
        return True
    names = file_names(folder, folders=True)
    strange = sorted(name for name in names if not OURS.fullmatch(name))
    if strange:
        raise ConfigError(
            f"{redacted(folder)} holds {shown(strange[0])}, which no run has written; nothing was replaced: {own}, or "
            "choose another --out"
        )
    return bool(names)


def published(record: Mapping[str, Any], out_uri: str, scene_id: str, request: str) -> Mapping[str, Any] | None:
    """``record`` when it is of a whole result in ``out_uri`` that answers ``request``; None otherwise.

    A result with holes is none: its failed tiles deserve another try. Raises StorageError when the store fails.
    """
    if record.get("request") != request or record.get("status") != "PUBLISHED":
        return None
    folder = join(out_uri, scene_id)
    files = json_object(read_file(join(folder, MANIFEST))).get("files", {})
    return record if files and set(files) <= file_names(folder) else None
