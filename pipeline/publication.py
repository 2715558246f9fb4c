"""What is published already: whether a result lies there that was made of the same scene, in the same way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pipeline
from pipeline.config import RunConfig, result_settings
from pipeline.errors import StorageError
from pipeline.preparation import AreaOfInterest
from pipeline.storage.files import file_names, file_version, read_file
from pipeline.storage.folders import MANIFEST
from pipeline.storage.paths import join
from pipeline.types import ModelCard, Scene

RECORD = "run.json"
"""The record of a run, one of the files of its result."""


def scene_version(scene: Scene) -> str | None:
    """Changes when a file of the scene does; None when a store does not tell its files' versions."""
    try:
        versions = [file_version(uri) for uri in scene.uris]
    except StorageError:  # read through GDAL, by a server that will not be asked this way
        return None
    return None if None in versions else "; ".join(map(str, versions))


def model_version(card: ModelCard) -> str:
    """SHA-256 (hex) over the model card, which holds that of the weights."""
    return hashlib.sha256(json.dumps(asdict(card), sort_keys=True, default=str).encode()).hexdigest()


def request_sha256(scene: Scene, version: str, config: RunConfig, card: ModelCard, aoi: AreaOfInterest | None) -> str:
    """Hex digest over all that was asked for: equal requests have equal results."""
    settings = result_settings(config)
    settings["aoi"] = None if aoi is None else [hashlib.sha256(aoi.geometry.wkb).hexdigest(), aoi.crs_wkt]
    settings["export"] = asdict(config.export)
    header = {**asdict(scene), "uris": len(scene.uris)}
    content = [pipeline.__version__, header, version, settings, model_version(card)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
