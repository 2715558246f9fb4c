"""What is published already: whether a result lies there that was made of the same scene, in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.storage.files import file_names, read_file
from pipeline.storage.folders import MANIFEST
from pipeline.storage.paths import join

RECORD = "run.json"
"""The record of a run, one of the files of its result."""


def published(out_uri: str, scene_id: str, request: str) -> Mapping[str, Any] | None:
    """The record of the whole result that lies in ``out_uri`` and answers ``request``; None when there is none.

    A result with holes is none: its failed tiles deserve another try. Raises StorageError when the store fails.
    """
    folder = join(out_uri, scene_id)
    manifest, record = _json(join(folder, MANIFEST)), _json(join(folder, RECORD))
    if record.get("request") != request or record.get("status") != "PUBLISHED":
        return None
    files = manifest.get("files", {})
    return record if files and set(files) <= file_names(folder) else None


def _json(uri: str) -> dict[str, Any]:
    """A JSON object; empty when there is none, or something else."""
    try:
        content = json.loads(read_file(uri) or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
