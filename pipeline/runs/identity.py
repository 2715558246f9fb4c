"""Who is who: every digest by which scenes, models, settings, requests, parts and runs are told apart.

The same content gives the same digest, whenever and wherever it is worked out. A change of any of them is a decision:
parts are done again, and ids of the same detections differ from those that users have kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import pipeline
from pipeline.config import RunConfig
from pipeline.errors import StorageError
from pipeline.planning.area import AreaOfInterest
from pipeline.planning.plan import ScreenedScene, WorkOrder
from pipeline.runs.context import Run
from pipeline.storage.files import file_version
from pipeline.types import ByteArray, ModelCard, Scene

ADMISSION = ("allow_vsi", "max_gigapixels", "max_bands", "max_block_mb")
"""Keys of ``raster`` that say which scenes are let in, and nothing about what is found in them."""


def result_settings(config: RunConfig) -> dict[str, Any]:
    """The settings that can change the bytes of a result: everything but where and by whom the work is done."""
    settings = asdict(config)
    threads = settings.pop("cluster")["threads"]
    for key in ADMISSION:
        settings["raster"].pop(key)
    for key in ("scene", "out", "executor", "dry_run", "log", "weights", "export"):
        settings.pop(key)
    for key in ("start_from", "force", "clean", "work"):
        settings.pop(key)
    settings["threads"] = threads
    return settings


def config_hash(config: RunConfig) -> str:
    """SHA-256 (hex) over :func:`result_settings` in canonical JSON."""
    canonical = json.dumps(result_settings(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


FORMAT = 1
"""Goes up when code changes what a part holds, or what a detector finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the detections of a block depend on, but for the block itself."""

    plan: WorkOrder
    scene_version: str
    """Changes when a file of the scene does."""
    model: str
    """Changes when the weights or the model card do."""
    precision: str
    threads: int

    @property
    def sha256(self) -> str:
        """Hex digest over everything that can change a part, and nothing else."""
        content = asdict(replace(self.plan, export_attention=False))
        for key in ("uris", "scene_id", "acquired", "sensor", "attribution"):
            content["scene"].pop(key)
        for key in ("gdal_cache_mb", "allow_vrt", *ADMISSION):
            content["raster"].pop(key)
        rest = [FORMAT, self.scene_version, self.model, self.precision, self.threads]
        return hashlib.sha256(json.dumps([content, rest], sort_keys=True).encode()).hexdigest()


FINGERPRINT_PX = 512
"""Longer side of the thumbnail whose pixels identify a scene's content, pixels."""


def fingerprint(screened: ScreenedScene, thumbnail: ByteArray) -> str:
    """SHA-256 (hex) of what identifies a scene: its grid, place and type, its stretch, and a thumbnail's pixels."""
    scene = asdict(screened.prepared.scene)
    for key in ("uris", "scene_id", "overviews", "block_width", "block_height"):
        scene.pop(key)
    digest = hashlib.sha256(repr((scene, screened.plan.stretch)).encode())
    digest.update(np.ascontiguousarray(thumbnail).tobytes())
    return digest.hexdigest()


def run_identity(screened: ScreenedScene, run: Run, thumbnail: ByteArray) -> Identity:
    """Content hashes: the same scene, configuration and weights give the same ids, whenever and wherever they run."""
    parts = (fingerprint(screened, thumbnail), config_hash(run.config), run.card.sha256)
    return Identity(
        scene_id=screened.prepared.scene.scene_id,
        model_id=f"{run.card.name}@{run.card.sha256[:12]}",
        run_id=hashlib.sha256("".join(parts).encode()).hexdigest()[:16],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who made a result, from what."""

    scene_id: str
    model_id: str
    run_id: str


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
