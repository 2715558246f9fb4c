"""run.json: what ran, on what, with what, and what came out. Times live here and nowhere else."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.detectors.weights import BUILTIN, HUB, HUB_NAME
from pipeline.engine.ledger import Account
from pipeline.errors import redacted
from pipeline.names import public_uri
from pipeline.outputs.tables import DETECTION_SCHEMA
from pipeline.planning.area import area_record
from pipeline.planning.plan import ScenePlan, WorkOrder
from pipeline.raster.addresses import origin_of
from pipeline.reporting.versions import versions
from pipeline.runs.context import Run
from pipeline.runs.identity import config_hash, result_settings
from pipeline.runs.report import Clock
from pipeline.types import ModelCard

UNKNOWN_LICENCE = "unknown"
"""What stands for the licence of weights that say none: nobody may take silence for permission."""


def run_record(
    ended: Mapping[str, Any],
    plan: ScenePlan,
    order: WorkOrder,
    results: Account,
    run: Run,
    clock: Clock,
) -> dict[str, Any]:
    """The record of one scene, ready for JSON. Holds no credentials: URIs are given without query and user.

    ``ended``: how, and under which ids. The ``clock`` is of the job that publishes, and so are all times and the
    memory; counts are of the result, whichever job did the block. ``worker_seconds_all_jobs`` is what the blocks of the
    result took altogether.
    """
    scene, card, config, numbers = plan.scene, run.card, run.config, clock.metrics.numbers
    found = versions()
    header = {key: value for key, value in asdict(scene).items() if key != "warnings"}
    addresses = {"weights": public_uri(config.weights), "aoi": config.aoi and public_uri(config.aoi)}
    return {
        **ended,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "origin": list(origin_of(scene.uris)),
        "scene": {**header, "uris": [public_uri(uri) for uri in scene.uris], "crs_wkt": scene.crs_wkt},
        "datum_shift": None if plan.shift is None else asdict(plan.shift),
        "area_of_interest": None if run.aoi is None else area_record(run.aoi),
        "lattice": asdict(plan.lattice),
        "stretch": asdict(order.stretch),
        "score_threshold": order.score_threshold,
        "tile_px": plan.tile_px,
        "halo_px": plan.halo_px,
        "tiles": {
            "planned": len(plan.tiles) + plan.tiles_skipped,
            "done": results.tiles_done,
            "done_before": results.tiles_kept,
            "failed": len(results.failures),
            "skipped_empty": plan.tiles_empty,
            "skipped_outside_aoi": plan.tiles_outside_aoi,
        },
        "blocks": len(plan.blocks),
        "second_look": {"crops": len(results.crops), "tiles_with_crops": results.cost.tiles_refined},
        "network_mpx": round(results.cost.network_px / 1e6, 3),
        "boxes_before_merge": len(results.detections),
        "columns": list(DETECTION_SCHEMA.names),
        "seconds": dict(clock.seconds),
        "worker_seconds": {stage: round(numbers.seconds[stage].sum_s, 6) for stage in ("read", "detect")},
        "worker_seconds_all_jobs": {"read": round(results.cost.read_s, 6), "detect": round(results.cost.detect_s, 6)},
        "mpx": round(plan.mpx, 3),
        "mpx_per_s": {stage: round(plan.mpx / s, 2) for stage, s in clock.seconds.items() if s > 0},
        "peak_rss_mb": {"driver": _peak_rss_mb(), "worker": round(results.cost.peak_rss_bytes / 1e6)},
        "warnings": [redacted(sentence) for sentence in plan.warnings],
        "notes": list(results.notes),
        "model": {**_model(card, found), "address": _address(config.weights)},
        "versions": found,
        "config": {"hash": config_hash(config), **result_settings(config), **addresses},
        "work": run.executor.record(),
        "metrics": numbers.record(),
    }


def _model(card: ModelCard, found: Mapping[str, str | None]) -> dict[str, Any]:
    """What looked, what ran it, and under which licence its weights stand; ``found`` are the versions of libraries."""
    return {
        "name": card.name,
        "sha256": card.sha256,
        "gsd_m": card.gsd_m,
        "classes": list(card.classes),
        "licence": card.licence or UNKNOWN_LICENCE,
        "runtime": card.runtime or f"torch {found['torch']}",
        "described": card.described,
        "network": None if card.network is None else list(card.network),
        "bands": list(card.bands),
        "input_px": card.input_px,
        "mean": list(card.mean),
        "std": list(card.std),
        "training_data": card.training_data,
    }


def _address(weights: str) -> str:
    """Where the weights lie, for who reads the record elsewhere: absolute, without secrets; a page of the hub."""
    if weights.startswith((BUILTIN, HUB)):
        return weights
    try:
        here = Path(weights).expanduser().exists()
    except (OSError, RuntimeError):  # a name that no file can have, or the home of nobody
        here = False
    if not here and HUB_NAME.fullmatch(weights):
        return f"https://huggingface.co/{weights}"
    return origin_of((weights,))[0]


def _peak_rss_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
