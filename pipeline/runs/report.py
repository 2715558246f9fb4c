"""How scenes and runs ended, in a form for programs and in a sentence for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.engine.ledger import Account
from pipeline.errors import EXIT_OK, OutsideArea
from pipeline.planning.plan import ScenePlan
from pipeline.reporting.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneReport:
    """How one scene ended."""

    uri: str
    scene_id: str
    status: str
    """PUBLISHED, PARTIAL (published with holes), FAILED (too many holes), INVALID (never got to work) or SKIPPED: it
    lies outside the area of interest."""
    exit_code: int
    message: str
    folder: str | None = None
    """Where the results are; None when nothing was written."""
    detections: int = 0
    tiles_done: int = 0
    tiles_failed: int = 0
    tiles_skipped: int = 0
    seconds: float = 0.0
    run_id: str | None = None
    """As in run.json; None when nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a run ended: one report per scene, in input order."""

    scenes: tuple[SceneReport, ...]

    @property
    def exit_code(self) -> int:
        """0 when every scene was published, else the code of the first, in input order, that was not.

        Scenes outside the area of interest count as done, but for a run that has no others: then the area is wrong.
        """
        if self.scenes and all(scene.status == "SKIPPED" for scene in self.scenes):
            return OutsideArea.exit_code
        return next((scene.exit_code for scene in self.scenes if scene.exit_code != EXIT_OK), EXIT_OK)


class Clock:
    """Seconds per stage of one scene, which the metrics are told of too."""

    def __init__(self, metrics: Metrics) -> None:
        """``metrics``: of the scene."""
        self.metrics = metrics
        self._started = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        if stage != "detect":  # blocks are timed by their workers
            self.metrics.observe(stage, now - self._last)
        self._last = now

    @property
    def total(self) -> float:
        return time.perf_counter() - self._started


def unchanged(uri: str, record: Mapping[str, Any], folder: str) -> SceneReport:
    """The report of a scene whose result was there."""
    tiles, warnings = record["tiles"], len(record.get("warnings", ()))
    warned = f" (it came with {warnings} warnings: see run.json)" if warnings else ""
    return SceneReport(
        uri=uri,
        scene_id=record["scene_id"],
        status=record["status"],
        exit_code=EXIT_OK,
        message=f"nothing to do: the same run has published {record['detections']} detections ({record['finished']}) "
        f"to {folder}{warned}; --force does it again",
        folder=folder,
        run_id=record["run_id"],
        detections=record["detections"],
        tiles_done=tiles["done"],
        tiles_skipped=tiles["skipped_empty"] + tiles["skipped_outside_aoi"],
    )


def ending(status: str, results: Account, plan: ScenePlan, found: int, where: str, seconds: float) -> str:
    """The sentence of a scene that was worked on to its end: ``found`` detections ``where``, after ``seconds``."""
    rate = plan.mpx / max(seconds, 1e-6)
    if status == "FAILED":
        first = results.failures[0]
        return (
            f"{len(results.failures)} of {len(plan.tiles)} tiles failed, first {first.tile_id} ({first.reason}); "
            f"only failures.parquet and run.json were written to {where}; raise --output.max_failed_tiles to publish "
            "with holes"
        )
    holes = f", {len(results.failures)} tiles failed (see failures.parquet)" if results.failures else ""
    looks = f"{results.tiles_done} tiles" + (f" and {len(results.crops)} crops" if results.crops else "")
    skipped = _skipped(plan)
    if not plan.tiles:
        return f"NOTHING WAS LOOKED AT: {skipped}, so 0 detections say nothing of the scene: {where}"
    return (
        f"{found} detections from {looks}{f' ({skipped})' if skipped else ''} in {seconds:.1f} s ({rate:.3g} Mpx/s)"
        f"{holes}: {where}"
    )


def _skipped(plan: ScenePlan) -> str:
    """How many tiles were not looked at, and why."""
    reasons = {"without a valid pixel": plan.tiles_empty, "outside the area of interest": plan.tiles_outside_aoi}
    counts = [f"{count} {reason}" for reason, count in reasons.items() if count]
    return f"skipped {' and '.join(counts)}" if counts else ""
