"""The main path of one scene: plan → map → merge → publish."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from pipeline.planning.plan import ScenePlan, WorkOrder, asked_for, plan_scene, screen
from pipeline.raster.own_data import own_data
from pipeline.reporting.journal import Journal
from pipeline.reporting.tile_failures import TileFailures
from pipeline.runs.context import Run, forewarnings
from pipeline.runs.glance import Glance, confirmed, glance
from pipeline.runs.heat_maps import heat_maps
from pipeline.runs.identity import recipe_sha256, request_sha256, scene_version
from pipeline.runs.in_time import in_time
from pipeline.runs.published import check_owner, last_record, published
from pipeline.runs.publishing import Finding, identity_of, publish_scene
from pipeline.runs.report import Clock, SceneReport, unchanged
from pipeline.runs.result_files import build_table
from pipeline.runs.retention import shrink
from pipeline.storage.folders import WORK
from pipeline.storage.lease import Lease
from pipeline.storage.paths import join
from pipeline.threads import look_up
from pipeline.types import BlockOutcome, Detections, Failed, ModelCard, Scene


def detect_scene(uri: str, run: Run, seen: Glance | None = None) -> SceneReport:
    """One scene, unless the same is published already. ``seen``: of a glance at it that somebody has just taken.

    Raises SceneBusy when another job is at work on it.
    """
    seen = seen or glance(uri, run)
    if seen.report is not None:
        return seen.report
    clock = Clock(run.executor.metrics.scene())
    limit_s = run.config.cluster.deadline_s
    plan = in_time(lambda: plan_scene(uri, run.config, run.card, run.aoi), uri, "planning", limit_s)
    scene = plan.scene
    with Lease(run.config.out, scene.scene_id, run.config.work.lease_s, run.say) as lease:
        last = last_record(run.config.out, scene.scene_id)
        known = check_owner(last, scene.uris, run.config.out, scene.scene_id, force=run.config.force)
        version = seen.version or scene_version(scene, run.config.raster)
        if version is None:
            run.say(f"{scene.scene_id}: its server tells no version of it, so nothing done before can be used")
            version = uuid.uuid4().hex
        request = request_sha256(scene, version, run.config, run.card, run.aoi, plan.shift)
        record = None if run.config.force else published(last, run.config.out, scene.scene_id, request)
        if record is not None and not run.config.clean:
            shrink(run, scene.scene_id, WorkFolder(folder=work_folder(run, scene), recipe_sha256=""), (), whole=True)
            return unchanged(uri, record, join(run.config.out, scene.scene_id))
        headers = plan
        plan, order = in_time(lambda: screen(headers, run.config, run.card), uri, "a first look at all of it", limit_s)
        clock.lap("plan")
        ours = SceneRun(
            uri=uri, run=run, plan=plan, order=order, version=version, request=request, inputs=seen.inputs,
            first=not known, clock=clock,
        )  # fmt: skip
        if record is not None:
            shrink(run, scene.scene_id, ours.resume().work, plan.blocks, whole=True)
            return unchanged(uri, record, join(run.config.out, scene.scene_id))
        return ours(lease)


def work_folder(run: Run, scene: Scene) -> str:
    """Where the parts of a scene lie."""
    return join(run.config.out, scene.scene_id, WORK)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneRun:
    """One scene that is ours alone, from its plan to its report."""

    uri: str
    run: Run
    plan: ScenePlan
    order: WorkOrder
    version: str
    """Of the scene's files."""
    request: str
    """Digest of all that was asked for."""
    inputs: str | None
    """The same, told without opening the scene; see :mod:`pipeline.runs.glance`."""
    first: bool
    """Whether nothing of the scene lay in its place before, neither a result nor parts: then nobody asks for any."""
    clock: Clock

    def __call__(self, lease: Lease) -> SceneReport:
        """map → merge → publish. Raises SceneBusy when another job has taken the scene over meanwhile, and Halted."""
        self._tell_plan()
        resume = self.resume()
        with _scratch(self.run) as folder:
            results = self.map(resume, folder)
            self.clock.lap("detect")
            look_up()
            detections = asked_for(self.merge(results.detections), self.plan)
            self.clock.lap("merge")
            look_up()  # from here on it is quicker to end than to do it all again
            lease.check()
            report = self.publish(results, detections, folder)
        whole = report.status == "PUBLISHED"
        if not self.first or self.run.config.work.keep == "never":
            shrink(self.run, self.scene_id, resume.work, self.plan.blocks, whole=whole)
        return report

    @property
    def scene_id(self) -> str:
        return self.plan.scene.scene_id

    def resume(self) -> Resume:
        """How to go on from what earlier jobs have done of this scene."""
        config = self.run.config
        threshold = min(config.work.keep_score, self.order.score_threshold)
        generous = replace(self.order, score_threshold=threshold)
        work = WorkFolder(
            folder=work_folder(self.run, self.plan.scene),
            recipe_sha256=recipe_sha256(generous, self.version, self.run.card, config),
            attention=config.export.attention,
            difference=config.export.difference,
        )
        work.sweep()
        return Resume(
            work=work,
            order=generous,
            only_merge=config.start_from == "merge",
            afresh=config.force or self.first,
            say=lambda message: self.run.say(f"{self.scene_id}: {message}"),
        )

    def map(self, resume: Resume, folder: Path) -> Account:
        """All blocks through the executor, but for those done before, and the account of what became of every tile.

        The maps that the run exports grow block by block in ``folder``: memory does not.
        """
        plan, journal, metrics = self.plan, self.run.journal, self.clock.metrics
        tiles_kept = peak_rss_bytes = 0
        with contextlib.ExitStack() as stack:
            progress = stack.enter_context(self.run.progress.scene(self.scene_id, len(plan.tiles), plan.mpx))
            failures = TileFailures(journal, self.scene_id)
            stack.callback(failures.end)
            export = stack.enter_context(heat_maps(self.run.config.export, folder, plan))

            def told() -> Iterator[BlockOutcome]:
                nonlocal tiles_kept, peak_rss_bytes
                for outcome, fresh in resume.outcomes(
                    self.run.executor, plan.blocks, self.order.score_threshold, metrics
                ):
                    look_up()
                    export(outcome)
                    if fresh:
                        metrics.block(outcome)
                        peak_rss_bytes = max(peak_rss_bytes, outcome.cost.peak_rss_bytes)
                    failures.tell(outcome)
                    found = sum(len(done.detections) for done in outcome.done)
                    progress.tick(len(outcome.done), len(outcome.failed), found, fresh=fresh)
                    tiles_kept += 0 if fresh else len(outcome.done)
                    yield outcome

            results = account(plan.tiles, told())
        for note in results.notes:
            journal.emit("note", f"{self.scene_id}: {note}", scene_id=self.scene_id)
        # Memory is of this job alone, as its times in the record are; what earlier jobs took says nothing of it.
        cost = replace(results.cost, peak_rss_bytes=peak_rss_bytes)
        return replace(results, tiles_kept=tiles_kept, cost=cost)

    def merge(self, detections: Detections) -> Detections:
        """See :func:`merged`."""
        return merged(detections, self.run)

    def publish(self, results: Account, detections: Detections, folder: Path) -> SceneReport:
        """Files, and one move; see :func:`publish_scene`."""
        finding = Finding(
            plan=self.plan, order=self.order, results=results, detections=detections, extra=folder,
            request=self.request, inputs=confirmed(self.uri, self.run, self.inputs), first=self.first,
        )  # fmt: skip
        return publish_scene(self.uri, finding, self.run, self.clock)

    def _tell_plan(self) -> None:
        plan = self.plan
        self.clock.metrics.count(tiles_skipped=plan.tiles_skipped)
        self.run.journal.emit(
            "scene_planned", scene_id=self.scene_id, uri=self.uri, tiles=len(plan.tiles), blocks=len(plan.blocks),
            tiles_skipped=plan.tiles_skipped, mpx=plan.mpx, seconds=self.clock.seconds["plan"],
        )  # fmt: skip
        _warn(plan, self.run)


def _warn(plan: ScenePlan, run: Run) -> None:
    """Once a scene, what to know before trusting its result."""
    for sentence in plan.warnings:
        run.warn(f"{plan.scene.scene_id}: {sentence}", scene_id=plan.scene.scene_id)


@contextlib.contextmanager
def _scratch(run: Run) -> Iterator[Path]:
    """A local folder for files of one scene's result; gone afterwards, or it is said that it stays."""
    folder = Path(tempfile.mkdtemp(prefix="kestrel-"))
    try:
        yield folder
    finally:
        with tidying(run.say, f"the temporary folder {folder} stays; remove it by hand"):
            shutil.rmtree(folder)


def merged(detections: Detections, run: Run) -> Detections:
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


def table_of(
    uri: str, card: ModelCard, executor: Executor, config: RunConfig, journal: Journal
) -> tuple[Any, str | None, tuple[Failed, ...]]:
    """The same path without publishing: the Arrow table of one scene, its CRS as WKT, and its failed tiles."""
    with own_data() as ignored:
        run = Run(config=config, card=card, executor=executor, aoi=area_of_interest(config), journal=journal)
        for sentence in forewarnings(ignored, run.aoi):
            run.warn(sentence)
        plan, order = screen(plan_scene(uri, config, card, run.aoi), config, card)
        _warn(plan, run)
        results = account(plan.tiles, executor.map(order, plan.blocks))
        detections = asked_for(merged(results.detections, run), plan)
        table = build_table(detections, plan, order, card, identity_of(plan, order, run))
        return table, plan.scene.crs_wkt, results.failures
