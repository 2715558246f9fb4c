"""Publishing one scene: every file in a staging folder, then one move."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.engine.ledger import Account
from pipeline.errors import EXIT_OK, EXIT_TILES_FAILED
from pipeline.names import public_uri
from pipeline.planning.plan import ScreenedScene, meta_entries
from pipeline.raster.overview import read_thumbnail
from pipeline.runs.context import Run
from pipeline.runs.identity import FINGERPRINT_PX, Identity, config_hash, result_settings, run_identity
from pipeline.runs.record import run_record
from pipeline.runs.report import Clock, SceneReport, ending
from pipeline.runs.result_files import build_table, write_detections, write_failed_tiles, write_json, write_preview
from pipeline.storage.folders import publish_folder, staging_folder
from pipeline.types import Detections


def publish_scene(
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
