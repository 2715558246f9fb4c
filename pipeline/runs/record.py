"""run.json: what ran, on what, with what, and what came out. Times live here and nowhere else."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pipeline
from pipeline.engine.ledger import Account
from pipeline.names import public_uri
from pipeline.planning.plan import ScreenedScene
from pipeline.reporting.metrics import Numbers
from pipeline.runs.identity import Identity
from pipeline.types import ModelCard

LIBRARIES = ("ray", "torch", "transformers", "rasterio", "pyproj", "shapely", "pyarrow", "numpy", "numba", "pyogrio")


def run_record(
    screened: ScreenedScene,
    results: Account,
    card: ModelCard,
    identity: Identity,
    ended: Mapping[str, Any],
    seconds: Mapping[str, float],
    numbers: Numbers,
) -> dict[str, Any]:
    """The record of one scene, ready for JSON. Holds no credentials: URIs are given without query and user.

    ``seconds`` and ``numbers`` are of the job that publishes, and so are all times and the memory; counts are of the
    result, whichever job did the block. ``worker_seconds_all_jobs`` is what the blocks of the result took altogether.
    """
    prepared = screened.prepared
    scene, lattice = prepared.scene, prepared.lattice
    mpx = sum(tile.core.pixels for tile in screened.tiles) * lattice.scale_x * lattice.scale_y / 1e6
    return {
        **ended,
        **asdict(identity),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "scene": {**asdict(scene), "uris": [public_uri(uri) for uri in scene.uris], "crs_wkt": scene.crs_wkt},
        "lattice": asdict(lattice),
        "stretch": asdict(screened.plan.stretch),
        "score_threshold": screened.plan.score_threshold,
        "tile_px": prepared.tile_px,
        "halo_px": prepared.halo_px,
        "tiles": {
            "planned": len(screened.tiles) + screened.tiles_empty + prepared.tiles_outside_aoi,
            "done": results.tiles_done,
            "done_before": results.tiles_kept,
            "failed": len(results.failures),
            "skipped_empty": screened.tiles_empty,
            "skipped_outside_aoi": prepared.tiles_outside_aoi,
        },
        "blocks": len(screened.blocks),
        "second_look": {"crops": len(results.crops), "tiles_with_crops": results.tiles_refined},
        "network_mpx": round(results.network_px / 1e6, 3),
        "boxes_before_merge": len(results.detections),
        "seconds": dict(seconds),
        "worker_seconds": {stage: round(numbers.seconds[stage].sum_s, 3) for stage in ("read", "detect")},
        "worker_seconds_all_jobs": {"read": round(results.read_s, 3), "detect": round(results.detect_s, 3)},
        "mpx": round(mpx, 3),
        "mpx_per_s": {stage: round(mpx / s, 2) for stage, s in seconds.items() if s > 0},
        "peak_rss_mb": {"driver": _peak_rss_mb(), "worker": round(results.peak_rss_bytes / 1e6)},
        "notes": list(results.notes),
        "model": {"name": card.name, "sha256": card.sha256, "gsd_m": card.gsd_m, "classes": list(card.classes)},
        "versions": versions(),
    }


def versions() -> dict[str, str | None]:
    """Of this project (with its git commit, where there is one), Python and the libraries that touch the result."""
    found: dict[str, str | None] = {
        "kestrel": pipeline.__version__,
        "git_commit": git_commit(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_commit() -> str | None:
    """Commit of the checkout the code runs from, with ``+changes`` when it differs; None outside a checkout."""
    folder = Path(pipeline.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def _peak_rss_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
