"""Whether a scene is published already, told at a glance: by the versions of its files, without opening one.

All that a header says follows from the scene's files, from what lies beside them, and from how they are read. So where
the digest of these is the one in the record of a whole result, the request is the same too (``request_sha256``), and
the scene is as it was left. Any doubt (a store that tells no version, a VRT, work that has grown old) leaves the answer
to the long way, which opens the scene and holds its lease.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

import pipeline
from pipeline.errors import PipelineError
from pipeline.georeference.grids import state_of_grids
from pipeline.names import is_virtual, path_part
from pipeline.raster.addresses import is_remote, origin_of, scene_id_of, split_uris
from pipeline.raster.beside import state_beside
from pipeline.reporting.versions import versions
from pipeline.retrying import Patience
from pipeline.runs.context import Run
from pipeline.runs.identity import files_of, model_version, version_of
from pipeline.runs.published import last_record
from pipeline.runs.report import SceneReport, unchanged
from pipeline.storage.files import ages_below
from pipeline.storage.folders import MANIFEST, WORK
from pipeline.storage.paths import join, local_path

ONCE = Patience(pauses_s=())
"""What does not answer is left to the long way, which has more."""
READERS = ("rasterio", "pyproj", "shapely")
"""Libraries by which a header becomes a scene."""
SECTIONS = ("raster", "tiling", "detector", "refine", "merge", "output", "export")
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What was seen of a scene without opening it."""

    version: str | None = None
    """Of its files, before any was read; None where it was not told."""
    inputs: str | None = None
    """Digest of all that its result depends on; None where that cannot be told at a glance."""
    report: SceneReport | None = None
    """Where the same is published already."""


def settings_sha256(run: Run) -> str:
    """Hex digest over what all scenes of a run share that may change a result, or which scenes are let in."""
    aoi = run.aoi
    config = replace(run.config, raster=replace(run.config.raster, mask_file=None))  # it is one of the files
    found = versions()
    content = [
        pipeline.__version__,
        {name: found[name] for name in READERS},
        state_of_grids(),
        {name: asdict(getattr(config, name)) for name in SECTIONS},
        [config.cluster.threads, config.cluster.device],
        None if aoi is None else [hashlib.sha256(aoi.geometry.wkb).hexdigest(), aoi.crs_wkt],
        model_version(run.card),
    ]
    return _sha256(content)


def glance(uri: str, run: Run, settings: str | None = None) -> Glance:
    """Look at a scene and at its result without opening either. ``settings``: of the run, where they are known.

    Raises nothing: what cannot be told here, opening the scene will tell.
    """
    try:
        uris = split_uris(uri)
        scene_id = scene_id_of(uris, run.config.scene_id)
        version, inputs = _inputs(uris, scene_id, run, settings)
        report = None
        if inputs is not None and not run.config.force and not run.config.clean:
            report = _published(uri, scene_id, inputs, run)
    except (PipelineError, OSError, ValueError, LookupError, TypeError):  # also of a record that somebody has edited
        return Glance()
    return Glance(version=version, inputs=inputs, report=report)


def confirmed(uri: str, run: Run, inputs: str | None) -> str | None:
    """``inputs`` where they still are what they were when the scene was looked at; a store is not asked again."""
    uris = split_uris(uri)
    if inputs is None or any(map(is_remote, uris)):
        return inputs
    try:
        now = _inputs(uris, scene_id_of(uris, run.config.scene_id), run, None)[1]
    except (PipelineError, OSError):
        return None
    return inputs if now == inputs else None


def _inputs(uris: tuple[str, ...], scene_id: str, run: Run, settings: str | None) -> tuple[str | None, str | None]:
    """The version of a scene's files, and the digest of all that its result depends on."""
    raster = run.config.raster
    files = files_of(uris, raster)
    if raster.allow_vrt or any(is_virtual(path_part(uri)) for uri in files):  # they may read from anywhere
        return None, None
    version = version_of(files, raster, ONCE)
    beside = [() if is_remote(uri) else state_beside(_path(uri)) for uri in files]
    if version is None or None in beside:
        return version, None
    return version, _sha256([settings or settings_sha256(run), scene_id, origin_of(files), version, beside])


def _path(uri: str) -> Path:
    path = local_path(uri)
    assert path is not None, uri
    return path.absolute()


def _published(uri: str, scene_id: str, inputs: str, run: Run) -> SceneReport | None:
    """The report of a whole result that was made of the same, and of whose kept work none has grown old."""
    out, keep = run.config.out, run.config.work.keep
    record = last_record(out, scene_id, ONCE)
    if record.get("inputs") != inputs or record.get("status") != "PUBLISHED":
        return None
    folder = join(out, scene_id)
    ages = ages_below(folder, ONCE)
    if not {MANIFEST, *record["files"]} <= ages.keys():
        return None
    kept = [age for name, age in ages.items() if name.startswith(f"{WORK}/")]
    if kept and keep == "never":
        return None
    if not isinstance(keep, str) and any(age is not None and age > keep * DAY_S for age in kept):
        return None
    return unchanged(uri, record, folder)


THREADS = 16
AHEAD = 64
"""Scenes that are looked at before it is their turn: a store answers each only after a while."""
ENDING_S = 1.0
"""How long threads are waited for when no more glances are wanted."""
FRESH_S = 60.0
"""A glance that is older than this is thrown away."""


def glances(uris: Iterable[str], run: Run) -> Iterator[tuple[str, Glance | None]]:
    """Each scene in its turn, and what was seen of it shortly before; None where that was too long ago."""
    todo = iter(uris)
    if run.config.force or run.config.clean:
        yield from ((uri, None) for uri in todo)
        return
    ahead = _Ahead(run)
    try:
        for uri in islice(todo, AHEAD):
            ahead.look_at(uri)
        while ahead.waiting:
            uri, future = ahead.waiting.popleft()
            began, seen = future.result()
            for other in islice(todo, 1):
                ahead.look_at(other)
            yield uri, seen if time.monotonic() - began < FRESH_S else None
    finally:
        ahead.end()


class _Ahead:
    """Threads that take glances. They are daemons: a store that does not answer holds up nobody who wants to stop."""

    def __init__(self, run: Run) -> None:
        self._run, self._settings = run, settings_sha256(run)
        self._jobs: SimpleQueue[tuple[str, Future[tuple[float, Glance]]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.waiting: deque[tuple[str, Future[tuple[float, Glance]]]] = deque()
        """Scenes in their order, and when each was looked at (monotonic seconds) and what was seen."""

    def look_at(self, uri: str) -> None:
        """Have a glance taken at a scene."""
        job = uri, Future[tuple[float, Glance]]()
        self.waiting.append(job)
        self._jobs.put(job)
        if len(self._threads) < THREADS:
            self._threads.append(threading.Thread(target=self._work, name="glance", daemon=True))
            self._threads[-1].start()

    def end(self) -> None:
        """No more glances. Threads that wait for one end before this does: they hold the run, and who lets go of its
        network while the process ends aborts it. One whose store does not answer is left behind."""
        for _, future in self.waiting:
            future.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + ENDING_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            uri, future = job
            if future.set_running_or_notify_cancel():
                began = time.monotonic()
                try:
                    future.set_result((began, glance(uri, self._run, self._settings)))
                except BaseException as error:  # noqa: BLE001 - raised by who waits for it
                    future.set_exception(error)


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
