"""Who is who: every digest by which scenes, models, settings, requests, parts and runs are told apart.

The same content gives the same digest, whenever and wherever it is worked out. What goes into each is named field by
field, so a new field of a dataclass changes none of them by itself: whoever adds one decides here (a test asks). A
change of any digest is a decision too: parts are done again, and ids of the same detections differ from those that
users have kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

import pipeline
from pipeline.config import RasterConfig, RunConfig
from pipeline.config.writing import PREVIEW_PX
from pipeline.errors import StorageError
from pipeline.georeference.shift import DatumShift
from pipeline.planning.area import AreaOfInterest
from pipeline.planning.plan import WorkOrder
from pipeline.raster.addresses import origin_of
from pipeline.raster.class_mask import beside
from pipeline.retrying import PATIENCE, Patience
from pipeline.storage.files import file_version
from pipeline.types import ByteArray, ModelCard, Scene, Stretch

PARTS = 1
"""Goes up when code changes what a part holds, or what a detector finds."""
RASTER = RasterConfig()
FINGERPRINT_PX = 512
"""Longer side of the thumbnail whose pixels identify a scene's content, pixels."""

ADMISSION = ("allow_vsi", "requester_pays", "max_gigapixels", "max_bands", "max_block_mb")
"""Keys of ``raster`` that say which scenes are let in, or at whose cost, and nothing about what is found in them."""

READING = (
    "bands",
    "page",
    "stretch",
    "stretch_low_percent",
    "stretch_high_percent",
    "stretch_range",
    "nodata",
    "mask",
    "mask_file",
    "mask_values",
)
"""Keys of ``raster`` that say which pixels a detector sees."""

PLACING = ("crs", "rpc_height_m")
"""Keys of ``raster`` that say where a scene lies."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "raster": (*READING, *PLACING, "allow_vrt", "gdal_cache_mb"),
    "tiling": ("gsd", "tile_px", "halo_px", "halo_m", "global_factor", "block_mpx", "skip_empty"),
    "detector": ("score_threshold", "precision", "batch", "dtype", "runtime", "flips"),
    "refine": ("selector", "budget", "scales", "zoom", "gate", "candidate_score", "match_iou", "score_rule", "seed"),
    "merge": ("iou_threshold", "class_groups"),
    "output": ("max_failed_tiles", "preview_px", "meta"),
}
"""Settings that can change the bytes of a result, by section; and ``cluster.threads``."""

EXPORTS = ("attention", "difference")
"""Keys of ``export``: they change no detection, but what is asked for."""

PLACE = ("crs_wkt", "transform", "gcps", "rpc")
PIXELS = ("width", "height", "bands", "band_count", "dtype", "driver", "negative")
VALIDITY = ("nodata", "band_nodata", "has_mask")
LAYOUT = ("block_width", "block_height", "overviews")
FACTS = ("acquired", "sensor", "attribution")
TOLD = ("warnings", "palette", "band_names")
"""Fields of a scene by what they are about; beside them stand ``scene_id`` and ``uris``. No digest has what is TOLD."""

LATER: dict[str, Any] = {
    "page": None,
    "rpc": None,
    "band_nodata": (),
    "negative": False,
    "mask": "auto",
    "mask_file": None,
    "mask_values": (),
    "crs": None,
    "rpc_height_m": None,
    "precision": None,
    "flips": False,
    "runtime": "auto",
    "calibration": None,
    "difference": False,
    "network": None,
    "settings_sha256": None,
}
"""Fields that came later, with the value that leaves every digest what it was before them: it is not hashed."""


HASHED_AS = {"precision": "expected_precision", "dtype": "precision"}
"""Keys of ``detector`` → the names that they are hashed by: ``dtype`` was called ``precision`` once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who made a result, from what."""

    scene_id: str
    model_id: str
    run_id: str


def result_settings(config: RunConfig) -> dict[str, Any]:
    """The settings that can change the bytes of a result: everything but where and by whom the work is done."""
    settings: dict[str, Any] = {name: _fields(getattr(config, name), keys) for name, keys in SETTINGS.items()}
    return {"aoi": config.aoi, **settings, "threads": config.cluster.threads}


def _as_hashed(settings: dict[str, Any]) -> dict[str, Any]:
    """The same as it was when users' ids were made: ``detector.dtype`` was ``precision``, every preview had 1600 px."""
    detector, output = dict(settings["detector"]), dict(settings["output"])
    renamed = {new: detector.pop(old) for old, new in HASHED_AS.items() if old in detector}
    if output["preview_px"] == "auto":
        output["preview_px"] = PREVIEW_PX
    return {**settings, "detector": {**detector, **renamed}, "output": output}


def config_hash(config: RunConfig) -> str:
    """SHA-256 (hex) over :func:`result_settings`."""
    canonical = json.dumps(_as_hashed(result_settings(config)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def files_of(uris: Sequence[str], raster: RasterConfig) -> tuple[str, ...]:
    """All files that the pixels of a scene, or their validity, come from, as they were named."""
    return (*uris, *beside(raster))


def scene_version(scene: Scene, raster: RasterConfig = RASTER) -> str | None:
    """Changes when a file of the scene does, that of its classes too; None when a store does not tell its files'
    versions."""
    try:
        return version_of(files_of(scene.uris, raster), raster)
    except StorageError:  # read through GDAL, by a server that will not be asked this way
        return None


def version_of(files: Sequence[str], raster: RasterConfig, patience: Patience = PATIENCE) -> str | None:
    """Changes when one of the files does; None when a store does not tell their versions. Raises StorageError."""
    versions = [file_version(uri, patience, pays=raster.requester_pays) for uri in files]
    return None if None in versions else "; ".join(map(str, versions))


def model_version(card: ModelCard) -> str:
    """SHA-256 (hex) over the model card, which holds that of the weights, and what runs them where that is not torch.
    How it is described to people changes nothing."""
    silent = {"described", *(["runtime"] if card.runtime is None else [])}
    return _sha256(_fields(card, [one.name for one in fields(card) if one.name not in silent]))


def request_sha256(
    scene: Scene, version: str, config: RunConfig, card: ModelCard, aoi: AreaOfInterest | None,
    shift: DatumShift | None = None,
) -> str:  # fmt: skip
    """Hex digest over all that was asked for: equal requests have equal results.

    With grids installed since, PROJ takes another way to longitude and latitude, so the way counts where it loses any.
    """
    settings, longer_px = _as_hashed(result_settings(config)), max(scene.width, scene.height)
    settings["aoi"] = None if aoi is None else [hashlib.sha256(aoi.geometry.wkb).hexdigest(), aoi.crs_wkt]
    settings["export"] = _fields(config.export, EXPORTS)
    settings |= _device(card, config)
    if config.output.preview_px == PREVIEW_PX != replace(config.output, preview_px="auto").preview_side_px(longer_px):
        settings["output"]["preview_px"] = f"{PREVIEW_PX} px"  # another picture than what has always been hashed so
    header = _fields(scene, ("scene_id", *PIXELS, *PLACE, *VALIDITY, *LAYOUT, *FACTS))
    header["uris"] = len(scene.uris)
    if shift is not None and not shift.exact:
        header["datum_shift"] = shift.operation
    return _sha256([pipeline.__version__, header, version, settings, model_version(card)])


def recipe_sha256(order: WorkOrder, version: str, card: ModelCard, config: RunConfig) -> str:
    """Hex digest over what the detections of a block depend on, but for the block itself: it names the parts.

    ``version`` is the scene's. Which maps are exported changes no detection, so it is in no name, and neither does what
    scores are worth.
    """
    content = {
        "scene": _fields(order.scene, (*PIXELS, *PLACE, *VALIDITY, *LAYOUT)),
        "lattice": _fields(order.lattice, ("width", "height", "scale_x", "scale_y", "gsd_m")),
        "stretch": _fields(order.stretch, ("kind", "low", "high", "source")),
        "raster": _fields(order.raster, READING),
        "refine": _fields(order.refine, SETTINGS["refine"]),
        **_fields(order, ("score_threshold", "batch", "global_factor", "flips")),
        "export_attention": False,
    }
    seen_by = model_version(replace(card, calibration=None))
    rest = [PARTS, version, seen_by, config.detector.dtype, config.cluster.threads, *_device(card, config).values()]
    return _sha256([content, rest])


def _device(card: ModelCard, config: RunConfig) -> dict[str, str]:
    """The device that was asked for, of a detector whose runtime is not torch; digests of the others never had it."""
    return {} if card.runtime is None else {"device": config.cluster.device}


def fingerprint(scene: Scene, stretch: Stretch, thumbnail: ByteArray) -> str:
    """SHA-256 (hex) of what identifies a scene: its grid, place and type, its stretch, and a thumbnail's pixels.

    (h, w, 3) uint8, of FINGERPRINT_PX. The text that is hashed is Python's own of these values; ids that users keep
    depend on it, to the letter.
    """
    header = _fields(scene, (*PIXELS, *PLACE, *VALIDITY, *FACTS))
    values = ", ".join(f"{name}={getattr(stretch, name)!r}" for name in ("kind", "low", "high", "source"))
    digest = hashlib.sha256(f"({header!r}, Stretch({values}))".encode())
    digest.update(np.ascontiguousarray(thumbnail).tobytes())
    return digest.hexdigest()


def run_identity(scene: Scene, stretch: Stretch, thumbnail: ByteArray, config: RunConfig, card: ModelCard) -> Identity:
    """Content hashes: the same scene, configuration and weights give the same ids, whenever and wherever they run."""
    parts = (fingerprint(scene, stretch, thumbnail), config_hash(config), card.sha256, card.settings_sha256 or "")
    return Identity(
        scene_id=scene.scene_id,
        model_id=f"{card.name}@{card.sha256[:12]}",
        run_id=hashlib.sha256("".join(parts).encode()).hexdigest()[:16],
    )


def _fields(value: Any, names: Sequence[str]) -> dict[str, Any]:
    """Fields of a dataclass by name, dataclasses inside them as dictionaries; see LATER."""
    content = asdict(value)
    if content.get("mask_file") is not None:  # a signature is no part of it
        content["mask_file"] = origin_of((content["mask_file"],))[0]
    return {name: content[name] for name in names if name not in LATER or content[name] != LATER[name]}


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
