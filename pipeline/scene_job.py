"""The main path: plan → map → account → merge → publish. Knows no Ray; takes an Executor."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pipeline.config import RunConfig, config_hash, result_settings
from pipeline.errors import EXIT_OK, EXIT_TILES_FAILED, ConfigError, SceneError, StorageError, tidying
from pipeline.executors import Executor
from pipeline.geometry.nms import merge
from pipeline.geometry.partitions import PARTITION_BOXES, merge_in_parts
from pipeline.georeference.area_files import read_aoi
from pipeline.ledger import Account, account
from pipeline.names import complaint, public_uri, shown
from pipeline.preparation import AreaOfInterest, PreparedScene, ScreenedScene, meta_entries, prepare, screen
from pipeline.provenance import run_record
from pipeline.publication import model_version, published, request_sha256, scene_version
from pipeline.raster.addresses import scene_id_of, split_uris
from pipeline.raster.attention_map import HeatMap
from pipeline.raster.overview import read_thumbnail
from pipeline.reporting.journal import Journal
from pipeline.reporting.progress import Progress
from pipeline.reporting.tile_failures import TileFailures
from pipeline.reports import Clock, RunReport, SceneReport, ending, scene_mpx, unchanged
from pipeline.results import (
    Identity,
    build_table,
    write_detections,
    write_failed_tiles,
    write_json,
    write_preview,
)
from pipeline.resume import Resume
from pipeline.storage.folders import WORK, check_writable, publish_folder, staging_folder
from pipeline.storage.lease import Lease
from pipeline.storage.paths import join, local_path
from pipeline.types import BlockOutcome, ByteArray, Detections, Failed, IntArray, ModelCard
from pipeline.work_folder import Recipe, WorkFolder
from pipeline.worker import one_sentence

SILENT = Journal(lambda _: None)
"""For callers that look at the answer only."""
FINGERPRINT_PX = 512
"""Longer side of the thumbnail whose pixels identify a scene's content, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What all scenes of a run share."""

    config: RunConfig
    card: ModelCard
    executor: Executor
    aoi: AreaOfInterest | None
    journal: Journal = field(default_factory=Journal)

    def say(self, message: str) -> None:
        """A line for people."""
        self.journal.say(message)


def detect(
    config: RunConfig,
    card: ModelCard,
    executor: Executor,
    journal: Journal | None = None,
) -> RunReport:
    """Detect every scene of ``config`` and publish each as soon as its last tile has landed.

    A scene that cannot work is reported and the others go on. Raises ConfigError, ModelError, StorageError or
    ClusterError for what concerns the run as a whole; scenes published before stay published.
    """
    check_run(config)
    check_writable(config.out)
    run = Run(config=config, card=card, executor=executor, aoi=area_of_interest(config), journal=journal or Journal())
    executor.check_visible(local_scenes(config))
    return RunReport(scenes=tuple(_attempt(uri, run) for uri in config.scene))


def local_scenes(config: RunConfig) -> Iterator[Path]:
    """The scenes' files that this machine has."""
    for uri in config.scene:
        for part in split_uris(uri):
            with contextlib.suppress(OSError, ConfigError):  # names no file can have: opening them will say so
                path = local_path(part)
                if path is not None and path.exists():
                    yield path


def area_of_interest(config: RunConfig) -> AreaOfInterest | None:
    """The ``--aoi`` file, read. Raises ConfigError when it holds no polygon."""
    if config.aoi is None:
        return None
    geometry, crs_wkt = read_aoi(config.aoi)
    return AreaOfInterest(source=config.aoi, geometry=geometry, crs_wkt=crs_wkt)


def check_run(config: RunConfig) -> None:
    """Raise ConfigError for a run that says too little or contradicts itself."""
    if not config.scene:
        raise ConfigError("no scene given: add --scene URI")
    if not config.out:
        raise ConfigError("no place for the results given: add --out FOLDER")
    reason = complaint(config.out)
    if reason is not None:
        raise ConfigError(f"--out {shown(config.out)} is refused: {reason}")
    seen: dict[str, str] = {}
    for uri in config.scene:
        scene_id = scene_id_of(split_uris(uri))
        other = seen.setdefault(scene_id, uri)
        if other != uri or config.scene.count(uri) > 1:
            raise ConfigError(
                f"{shown(other)} and {shown(uri)} would both be written to {config.out}/{scene_id}; "
                "detect them in two runs with different --out"
            )


def _attempt(uri: str, run: Run) -> SceneReport:
    """One scene; its own errors end in its report, everything else ends the run."""
    try:
        report = detect_scene(uri, run)
    except (SceneError, StorageError, ConfigError) as error:
        report = SceneReport(
            uri=uri,
            scene_id=scene_id_of(split_uris(uri)),
            status="INVALID",
            exit_code=error.exit_code,
            message=one_sentence(error),
        )
    facts = {key: value for key, value in asdict(report).items() if key != "message"}
    run.journal.emit("scene_ended", f"{report.scene_id}: {report.status}: {report.message}", **facts)
    run.executor.metrics.end_scene(report.status)
    return report


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
        report = _publish(uri, screened, results, detections, run, clock, extra, request)
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
        plan=generous,
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


def class_groups(classes: Sequence[str], groups: Sequence[Sequence[str]]) -> IntArray | None:
    """For each class the group it is suppressed in; None when every class stands alone.

    Raises ConfigError for a name that the model does not know.
    """
    if not groups:
        return None
    group_of = np.arange(len(classes), dtype=np.int64)
    for group in groups:
        unknown = [name for name in group if name not in classes]
        if unknown:
            raise ConfigError(f"merge.class_groups: the model has no class {unknown[0]!r}; it has {', '.join(classes)}")
        members = [classes.index(name) for name in group]
        group_of[members] = min(members)
    return group_of


def inside(detections: Detections, prepared: PreparedScene) -> Detections:
    """Detections whose centre lies in the area of interest, and on the scene itself."""
    lattice, scene = prepared.lattice, prepared.scene
    x, y = detections.boxes[:, 0], detections.boxes[:, 1]
    keep = (x >= 0) & (y >= 0) & (x * lattice.scale_x <= scene.width) & (y * lattice.scale_y <= scene.height)
    if prepared.area is not None:
        keep &= shapely.intersects_xy(prepared.area, x, y)
    return detections[keep]


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


def _publish(
    uri: str,
    screened: ScreenedScene,
    results: Account,
    detections: Detections,
    run: Run,
    clock: Clock,
    extra: Path,
    request: str,
) -> SceneReport:
    """Write everything to a staging folder, with what lies in ``extra``, then publish the folder in one move."""
    scene, config = screened.prepared.scene, run.config
    failed = len(results.failures)
    over = failed > config.output.max_failed_tiles
    status = "FAILED" if over else "PARTIAL" if failed else "PUBLISHED"
    small, _ = read_thumbnail(scene, screened.plan.stretch, config.raster, FINGERPRINT_PX)
    identity = run_identity(screened, run, small)
    with staging_folder(config.out, scene.scene_id) as folder:
        write_failed_tiles(results.failures, folder, screened, scene.scene_id)
        if not over:
            table = build_table(detections, screened, run.card, identity)
            write_detections(table, folder, screened, _file_metadata(screened, identity, config))
            if config.output.preview_px:
                picture, _ = read_thumbnail(scene, screened.plan.stretch, config.raster, config.output.preview_px)
                write_preview(detections, results.crops, picture, screened, folder / "preview.png")
            for file in extra.iterdir():
                shutil.move(file, folder / file.name)
        clock.lap("write")
        exit_code = EXIT_TILES_FAILED if over else EXIT_OK
        ended = {"status": status, "exit_code": exit_code, "detections": 0 if over else len(detections)}
        settings = result_settings(config)
        numbers = run.executor.metrics.scene
        record = run_record(screened, results, run.card, identity, ended, clock.seconds, numbers)
        addresses = {"weights": public_uri(config.weights), "aoi": config.aoi and public_uri(config.aoi)}
        record["config"] = {"hash": config_hash(config), **settings, **addresses}
        record["work"] = run.executor.record()
        record["request"] = request
        record["metrics"] = numbers.record()
        write_json(record, folder / "run.json")
        where = publish_folder(folder, config.out, scene.scene_id, whole=not over)
    return SceneReport(
        uri=uri,
        scene_id=scene.scene_id,
        status=status,
        exit_code=exit_code,
        message=ending(status, results, len(detections), screened, where, clock),
        folder=where,
        detections=0 if over else len(detections),
        tiles_done=results.tiles_done,
        tiles_failed=failed,
        tiles_skipped=screened.tiles_empty + screened.prepared.tiles_outside_aoi,
        seconds=clock.total,
        run_id=identity.run_id,
    )


def _file_metadata(screened: ScreenedScene, identity: Identity, config: RunConfig) -> dict[str, str]:
    """What the file's tags and ``output.meta`` say of the scene, and who made the result."""
    scene = screened.prepared.scene
    facts = {"acquired": scene.acquired, "sensor": scene.sensor, "attribution": scene.attribution}
    known = {key: value for key, value in facts.items() if value}
    return {**meta_entries(config), **known, **asdict(identity)}
