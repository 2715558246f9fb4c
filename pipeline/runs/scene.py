"""The main path of one scene: plan → map → account → merge → publish."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.engine.executor import Executor
from pipeline.engine.ledger import Account, account
from pipeline.engine.parts_folder import WorkFolder
from pipeline.engine.resume import Resume
from pipeline.errors import tidying
from pipeline.geometry.class_groups import class_groups
from pipeline.geometry.nms import merge
from pipeline.geometry.partitions import PARTITION_BOXES, merge_in_parts
from pipeline.planning.area import area_of_interest
from pipeline.planning.plan import PreparedScene, ScreenedScene, inside, prepare, screen
from pipeline.raster.attention_map import HeatMap
from pipeline.raster.overview import read_thumbnail
from pipeline.reporting.progress import Progress
from pipeline.reporting.tile_failures import TileFailures
from pipeline.runs.context import SILENT, Run
from pipeline.runs.identity import FINGERPRINT_PX, Recipe, model_version, request_sha256, run_identity, scene_version
from pipeline.runs.published import published
from pipeline.runs.publishing import publish_scene
from pipeline.runs.report import Clock, SceneReport, scene_mpx, unchanged
from pipeline.runs.result_files import build_table
from pipeline.storage.folders import WORK
from pipeline.storage.lease import Lease
from pipeline.storage.paths import join
from pipeline.types import BlockOutcome, Detections, Failed, ModelCard


def detect_scene(uri: str, run: Run) -> SceneReport:
    """One scene, unless the same is published already. Raises SceneBusy when another job is at work on it."""
    metrics = run.executor.metrics
    metrics.begin_scene()
    clock = Clock(metrics)
    prepared = prepare(uri, run.config, run.card, run.aoi)
    scene = prepared.scene
    with Lease(run.config.out, scene.scene_id, run.config.work.lease_s, run.say) as lease:
        version = scene_version(scene)
        if version is None:
            run.say(f"{scene.scene_id}: its server tells no version of it, so nothing done before can be used")
            version = uuid.uuid4().hex
        request = request_sha256(scene, version, run.config, run.card, run.aoi)
        record = None if run.config.force else published(run.config.out, scene.scene_id, request)
        if record is not None:
            return unchanged(uri, record, join(run.config.out, scene.scene_id))
        return _detect(uri, prepared, run, lease, version, request, clock)


def _detect(
    uri: str, prepared: PreparedScene, run: Run, lease: Lease, version: str, request: str, clock: Clock
) -> SceneReport:
    """plan → map → account → merge → publish, for one scene that is ours alone."""
    screened = screen(prepared, run.config, run.card)
    clock.lap("plan")
    resume = _resume(screened, run, version)
    skipped = screened.tiles_empty + prepared.tiles_outside_aoi
    run.executor.metrics.count(tiles_skipped=skipped)
    run.journal.emit(
        "scene_planned", scene_id=prepared.scene.scene_id, uri=uri, tiles=len(screened.tiles),
        blocks=len(screened.blocks), tiles_skipped=skipped, mpx=scene_mpx(screened), seconds=clock.seconds["plan"],
    )  # fmt: skip
    with _scratch(run) as extra:
        results = _map(screened, run, resume, extra)
        clock.lap("detect")
        for note in results.notes:
            run.journal.emit("note", f"{prepared.scene.scene_id}: {note}", scene_id=prepared.scene.scene_id)
        detections = inside(merge_run(results.detections, run), prepared)
        clock.lap("merge")
        lease.check()
        report = publish_scene(uri, screened, results, detections, run, clock, extra, request)
    if run.config.clean:
        what, folder = f"{prepared.scene.scene_id}: parts of other settings", resume.work.folder
        with tidying(run.say, f"{what} stay in {folder}; nothing uses them, and they may be removed by hand"):
            count = resume.work.clean(screened.blocks)
            run.say(f"{prepared.scene.scene_id}: {count} parts of other settings removed")
    return report


@contextlib.contextmanager
def _scratch(run: Run) -> Iterator[Path]:
    """A local folder for files of one scene's result; gone afterwards, or it is said that it stays."""
    folder = Path(tempfile.mkdtemp(prefix="kestrel-"))
    try:
        yield folder
    finally:
        with tidying(run.say, f"the temporary folder {folder} stays; remove it by hand"):
            shutil.rmtree(folder)


def detections_of(
    uri: str, card: ModelCard, executor: Executor, config: RunConfig
) -> tuple[Any, str | None, tuple[Failed, ...]]:
    """The same path without publishing: the Arrow table of one scene, its CRS as WKT, and its failed tiles."""
    run = Run(config=config, card=card, executor=executor, aoi=area_of_interest(config), journal=SILENT)
    screened = screen(prepare(uri, config, card, run.aoi), config, card)
    outcomes = executor.map(screened.plan, screened.blocks)
    results = account(screened.tiles, outcomes)
    detections = inside(merge_run(results.detections, run), screened.prepared)
    thumbnail, _ = read_thumbnail(screened.prepared.scene, screened.plan.stretch, config.raster, FINGERPRINT_PX)
    table = build_table(detections, screened, card, run_identity(screened, run, thumbnail))
    return table, screened.prepared.scene.crs_wkt, results.failures


def _resume(screened: ScreenedScene, run: Run, version: str) -> Resume:
    """How to go on from what earlier jobs have done of this scene."""
    config, scene_id = run.config, screened.prepared.scene.scene_id
    generous = replace(screened.plan, score_threshold=min(config.work.keep_score, screened.plan.score_threshold))
    recipe = Recipe(
        plan=generous, scene_version=version, model=model_version(run.card),
        precision=config.detector.precision, threads=config.cluster.threads,
    )  # fmt: skip
    work = WorkFolder(
        folder=join(config.out, scene_id, WORK),
        recipe_sha256=recipe.sha256,
        attention=config.export.attention,
    )
    work.sweep()
    return Resume(
        work=work,
        order=generous,
        only_merge=config.start_from == "merge",
        afresh=config.force,
        say=lambda message: run.say(f"{scene_id}: {message}"),
    )


def _map(screened: ScreenedScene, run: Run, resume: Resume, extra: Path) -> Account:
    """All blocks through the executor, but for those done before, and the account of what became of every tile.

    The heat map, when the run exports one, grows block by block in the folder ``extra``: memory does not.
    """
    prepared, tiles_kept, peak_rss_bytes = screened.prepared, 0, 0
    with contextlib.ExitStack() as stack:
        name = prepared.scene.scene_id
        progress = stack.enter_context(Progress(name, len(screened.tiles), scene_mpx(screened), run.journal))
        failures = TileFailures(run.journal, name)
        stack.callback(failures.end)
        heat_map = None
        if run.config.export.attention:
            heat_map = stack.enter_context(HeatMap(extra / "attention.tif", prepared.lattice, prepared.scene))

        def told() -> Iterator[BlockOutcome]:
            nonlocal tiles_kept, peak_rss_bytes
            for outcome, fresh in resume.outcomes(run.executor, screened.blocks, screened.plan.score_threshold):
                if heat_map is not None:
                    for window, attention in outcome.attention:
                        heat_map.add(window, attention)
                if fresh:
                    run.executor.metrics.block(outcome)
                    peak_rss_bytes = max(peak_rss_bytes, outcome.peak_rss_bytes)
                failures.tell(outcome)
                found = sum(len(done.detections) for done in outcome.done)
                progress.tick(len(outcome.done), len(outcome.failed), found, fresh=fresh)
                tiles_kept += 0 if fresh else len(outcome.done)
                yield outcome

        results = account(screened.tiles, told())
    return replace(results, tiles_kept=tiles_kept, peak_rss_bytes=peak_rss_bytes)


def merge_run(detections: Detections, run: Run) -> Detections:
    """Exact rotated NMS over the whole scene, by class or by the configured groups of classes.

    Many detections are merged in parts, by whoever did the work before; the result is the same bit for bit.
    """
    groups = class_groups(run.card.classes, run.config.merge.class_groups)
    threshold = run.config.merge.iou_threshold
    if len(detections) <= PARTITION_BOXES:
        return merge(detections, iou_threshold=threshold, class_groups=groups)
    return merge_in_parts(
        detections, run.executor.run, iou_threshold=threshold, class_groups=groups, partition_boxes=PARTITION_BOXES
    )
