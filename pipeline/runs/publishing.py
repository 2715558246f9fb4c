"""Publishing one scene: every file in a staging folder, then one move."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.engine.ledger import Account
from pipeline.errors import EXIT_OK, EXIT_TILES_FAILED
from pipeline.pictures.ground import enlarged, shrunk, visible
from pipeline.planning.plan import ScenePlan, WorkOrder, meta_entries
from pipeline.raster.overview import read_thumbnail
from pipeline.runs.context import Run
from pipeline.runs.identity import FINGERPRINT_PX, Identity, run_identity
from pipeline.runs.in_time import in_time
from pipeline.runs.published import RECORD
from pipeline.runs.record import run_record
from pipeline.runs.report import Clock, SceneReport, ending
from pipeline.runs.result_files import (
    Shown,
    build_table,
    preview_window,
    write_detections,
    write_failed_tiles,
    write_json,
    write_preview,
)
from pipeline.storage.folders import publish_folder, staging_folder
from pipeline.types import BoolArray, ByteArray, Detections, Window

SMALL_AREA_PX = 800
"""Longer side that the picture of a small area of interest is enlarged to, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finding:
    """What came out of one scene, when its last tile has landed."""

    plan: ScenePlan
    order: WorkOrder
    results: Account
    detections: Detections
    """Merged, in frame LATTICE, those that were asked for."""
    extra: Path
    """Files that were made on the way and belong to the result."""
    request: str
    """Digest of all that was asked for."""
    inputs: str | None
    """The same, told without opening the scene; None where it cannot be."""
    first: bool = False
    """Whether nothing of the scene lay in its place before this job."""

    def status(self, config: RunConfig) -> str:
        """PUBLISHED, PARTIAL (with holes), or FAILED: more holes than the run allows."""
        failed = len(self.results.failures)
        return "FAILED" if failed > config.output.max_failed_tiles else "PARTIAL" if failed else "PUBLISHED"


def publish_scene(uri: str, finding: Finding, run: Run, clock: Clock) -> SceneReport:
    """Write the result to a staging folder, then publish the folder in one move.

    What has too many holes has no detections among its files, and no manifest. Raises StorageError.
    """
    config, plan, results = run.config, finding.plan, finding.results
    scene_id, status = plan.scene.scene_id, finding.status(config)
    whole = status != "FAILED"
    exit_code, found = (EXIT_OK, len(finding.detections)) if whole else (EXIT_TILES_FAILED, 0)
    picture = _thumbnail(plan, finding.order, config, FINGERPRINT_PX)
    identity = run_identity(plan.scene, finding.order.stretch, picture[0], config, run.card)
    with staging_folder(config.out, scene_id) as folder:
        write_failed_tiles(results.failures, folder, plan)
        if whole:
            _write_result(finding, identity, run, folder)
            _write_preview(finding, picture, config, folder / "preview.png")
        clock.lap("write")
        ended = {"status": status, "exit_code": exit_code, "detections": found, **asdict(identity)}
        record = run_record(ended, plan, finding.order, results, run, clock)
        files = sorted({path.name for path in folder.iterdir()} | {RECORD})
        asked = {"request": finding.request, "inputs": finding.inputs, "files": files}
        write_json(record | asked, folder / RECORD)
        where = publish_folder(folder, config.out, scene_id, whole=whole, first=finding.first)
    return SceneReport(
        uri=uri,
        scene_id=scene_id,
        status=status,
        exit_code=exit_code,
        message=ending(status, results, plan, found, where, clock.total),
        folder=where,
        detections=found,
        tiles_done=results.tiles_done,
        tiles_failed=len(results.failures),
        tiles_skipped=plan.tiles_skipped,
        seconds=clock.total,
        run_id=identity.run_id,
    )


def _write_result(finding: Finding, identity: Identity, run: Run, folder: Path) -> None:
    """Every file that only a result has."""
    config, plan, order = run.config, finding.plan, finding.order
    table = build_table(finding.detections, plan, order, run.card, identity)
    write_detections(table, folder, plan, _file_metadata(plan, identity, config), run.card.classes)
    for file in finding.extra.iterdir():
        shutil.move(file, folder / file.name, copy_function=shutil.copyfile)  # exFAT refuses rights and owners


def _write_preview(finding: Finding, picture: tuple[ByteArray, BoolArray], config: RunConfig, path: Path) -> None:
    """preview.png where one is asked for. One that is no larger than ``picture``, all of the scene, is made of that."""
    plan, order = finding.plan, finding.order
    side_px = config.output.preview_side_px(max(plan.scene.width, plan.scene.height))
    if not side_px:
        return
    window = preview_window(plan)
    if window.pixels < plan.scene.width * plan.scene.height:
        seen = _thumbnail(plan, order, config, side_px, within=window)
        ground = enlarged(visible(*seen), min(SMALL_AREA_PX, side_px))
    elif side_px <= FINGERPRINT_PX:
        ground = shrunk(visible(*picture), side_px)
    else:
        ground = visible(*_thumbnail(plan, order, config, side_px))
    shown = Shown(window=window, pixels=ground)
    write_preview(finding.detections, finding.results.crops, shown, plan, order, path)


def identity_of(plan: ScenePlan, order: WorkOrder, run: Run) -> Identity:
    """Who makes this result, from what; reads a small picture of the scene."""
    picture, _ = _thumbnail(plan, order, run.config, FINGERPRINT_PX)
    return run_identity(plan.scene, order.stretch, picture, run.config, run.card)


def _thumbnail(
    plan: ScenePlan, order: WorkOrder, config: RunConfig, side_px: int, within: Window | None = None
) -> tuple[ByteArray, BoolArray]:
    """See :func:`read_thumbnail`; in time."""
    return in_time(
        lambda: read_thumbnail(plan.scene, order.stretch, config.raster, side_px, within=within),
        ",".join(plan.scene.uris),
        "a picture of it",
        config.cluster.deadline_s,
    )


def _file_metadata(plan: ScenePlan, identity: Identity, config: RunConfig) -> dict[str, str]:
    """What the file's tags and ``output.meta`` say of the scene, and who made the result."""
    scene = plan.scene
    facts = {"acquired": scene.acquired, "sensor": scene.sensor, "attribution": scene.attribution}
    known = {key: value for key, value in facts.items() if value}
    return {**meta_entries(config), **known, **asdict(identity)}
