"""A run: its scenes, each published as soon as its last tile has landed. Knows no Ray; takes an Executor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.engine.executor import Executor
from pipeline.errors import EXIT_OK, ConfigError, OutsideArea, SceneError, StorageError, one_sentence
from pipeline.names import complaint, shown
from pipeline.planning.area import area_of_interest
from pipeline.planning.threshold import score_threshold
from pipeline.raster.addresses import scene_id_of, split_uris
from pipeline.raster.class_mask import beside
from pipeline.raster.own_data import own_data
from pipeline.reporting.journal import Journal
from pipeline.reporting.progress import Progress
from pipeline.runs.at_once import at_once
from pipeline.runs.context import Run, forewarnings
from pipeline.runs.glance import Glance, glances
from pipeline.runs.report import RunReport, SceneReport
from pipeline.runs.scene import detect_scene
from pipeline.runs.summary import in_order, summed_up
from pipeline.storage.folders import check_writable
from pipeline.storage.paths import local_path
from pipeline.types import ModelCard


def detect(
    config: RunConfig,
    card: ModelCard,
    executor: Executor,
    journal: Journal | None = None,
) -> RunReport:
    """Detect the scenes of ``config``, several at once, and publish each as soon as its last tile has landed.

    A scene that cannot work is reported and the others go on. Raises ConfigError, ModelError, StorageError or
    ClusterError for what concerns the run as a whole; scenes published before stay published.
    """
    check_run(config)
    score_threshold(card, config.detector)
    lacking = check_writable(config.out)
    journal = journal or Journal()
    with own_data() as ignored:
        progress = Progress(journal, len(config.scene))
        aoi = area_of_interest(config)
        run = Run(config=config, card=card, executor=executor, aoi=aoi, journal=journal, progress=progress)
        for sentence in forewarnings(ignored, run.aoi):
            run.warn(sentence)
        for weaker in lacking:
            run.warn(f"the file system of {config.out} lacks {weaker}")
        executor.check_visible(local_scenes(config))
        reports: dict[str, SceneReport] = {}
        asked = executor.scenes if config.cluster.scenes == "auto" else config.cluster.scenes
        with summed_up(reports, run):
            at_once(
                (partial(_attempt, uri, run, seen) for uri, seen in glances(config.scene, run)),
                min(asked, len(config.scene)),
                lambda report: reports.update({report.uri: report}),
                progress,
            )
        return in_order(reports, config)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTask:
    """One scene that a run shall detect, with the configuration of this scene alone."""

    uri: str
    config: RunConfig


def detect_scenes(
    tasks: Iterable[SceneTask], card: ModelCard, executor: Executor, journal: Journal, *,
    in_flight: int, ended: Callable[[SceneReport], None],
) -> None:  # fmt: skip
    """Detect scenes that need not be known beforehand, at most ``in_flight`` at once, and publish each.

    A task is drawn only when its scene may begin; ``ended`` is called in this thread, once a scene, in the order in
    which they end. Raises what concerns all of them, as :func:`detect` does, and what ``tasks`` and ``ended`` raise;
    scenes published before stay published.
    """
    with own_data() as ignored:
        run = Run(config=RunConfig(), card=card, executor=executor, aoi=None, journal=journal,
                  progress=Progress(journal))  # fmt: skip
        for sentence in forewarnings(ignored, None):
            run.warn(sentence)
        at_once(_attempts(tasks, run), in_flight, ended, run.progress)


def _attempts(tasks: Iterable[SceneTask], run: Run) -> Iterator[Callable[[], SceneReport]]:
    """Every task as a scene of a run with its configuration; an area of interest that several share is read once."""
    for task in tasks:
        same = run.config.aoi == task.config.aoi
        run = replace(run, config=task.config, aoi=run.aoi if same else area_of_interest(task.config))
        for sentence in forewarnings((), None if same else run.aoi):
            run.warn(sentence)
        yield partial(_attempt, task.uri, run)


def local_scenes(config: RunConfig) -> Iterator[Path]:
    """The scenes' files that this machine has, and that of their classes."""
    for uri in (*config.scene, *beside(config.raster)):
        for part in split_uris(uri):
            with contextlib.suppress(OSError, ConfigError):  # names no file can have: opening them will say so
                path = local_path(part)
                if path is not None and path.exists():
                    yield path


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
        scene_id = scene_id_of(split_uris(uri), config.scene_id)
        other = seen.get(scene_id.lower())  # a disk may take capitals and small letters for the same
        if other is not None:
            raise ConfigError(
                f"{shown(other)} and {shown(uri)} would both be written to {config.out}/{scene_id}; give each a name "
                "of its own, as with --scene-id '{parent}_{stem}' or '{stem}-{hash}', or detect them in two runs with "
                "different --out"
            )
        seen[scene_id.lower()] = uri


def _attempt(uri: str, run: Run, seen: Glance | None = None) -> SceneReport:
    """One scene; its own errors end in its report, everything else ends the run."""
    started = time.perf_counter()
    try:
        report = detect_scene(uri, run, seen)
    except (SceneError, StorageError, ConfigError) as error:
        skipped = isinstance(error, OutsideArea)
        report = SceneReport(
            uri=uri,
            scene_id=scene_id_of(split_uris(uri), run.config.scene_id),
            status="SKIPPED" if skipped else "INVALID",
            exit_code=EXIT_OK if skipped else error.exit_code,
            message=one_sentence(error),
            seconds=round(time.perf_counter() - started, 3),
        )
    facts = {key: value for key, value in asdict(report).items() if key != "message"}
    run.journal.emit("scene_ended", f"{report.scene_id}: {report.status}: {report.message}", **facts)
    run.executor.metrics.end_scene(report.status)
    return report
