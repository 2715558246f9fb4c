"""Strategies applied to images through the product's own steps: what was found, and what it cost."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.annotations.annotations import EVERY_CLASS, Annotations, annotations_on_lattice
from pipeline.config import RunConfig
from pipeline.detectors.foreign_files import onnx_file
from pipeline.detectors.protocol import Detector
from pipeline.detectors.weights import load, resolve_weights
from pipeline.engine.block import BlockPixels, read_block
from pipeline.engine.ledger import Account, account
from pipeline.engine.local import LocalExecutor, ReadBlock
from pipeline.errors import ConfigError
from pipeline.evaluation.comparison.oracle import oracle_gain, scores_of
from pipeline.evaluation.comparison.strategies import Strategy, as_close_as_crops, fitted
from pipeline.evaluation.data import EvaluationData
from pipeline.evaluation.seams import seam_distance
from pipeline.geometry.frames import lattice_to_scene
from pipeline.geometry.obb import corners_to_obb, obb_to_corners
from pipeline.planning.plan import ScenePlan, WorkOrder, asked_for, plan_scene, screen
from pipeline.runs.context import Run
from pipeline.runs.scene import merged
from pipeline.storage.fetching import fetch_weights
from pipeline.types import Block, Detections, FloatArray, Frame, Lattice, ModelCard


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """One strategy on one image."""

    detections: Detections
    """Merged, frame SCENE, classes of the annotations."""
    seconds: float
    """Of detection: resizing, network, crops, fusion, merging. Not: opening and decoding the file."""
    cpu_seconds: float
    """The same on this process's own clock, which other programs on the machine do not slow down."""
    network_px: int
    crops: int
    tiles: int
    tiles_refined: int
    failed: int
    """Tiles that could not be looked at; what they show counts as missed."""
    seam_px: FloatArray
    """(M,) lattice pixels from the centre of each annotation to the nearest border between two tiles; inf where there
    is none."""
    lattice: Lattice


DetectorOf = Callable[[Strategy], Detector]
"""The loaded detector that a strategy looks with."""


def measure(
    strategies: Sequence[Strategy], data: EvaluationData, detector_of: DetectorOf, repeats: int = 1
) -> Iterator[tuple[str, str, Measurement]]:
    """(image, strategy name, measurement): every strategy on every image, image after image.

    Strategies take turns on each image, so that a machine that grows slower or faster is equally unfair to all; the
    first image is looked at once by each before anything is timed. With ``repeats`` the fastest counts. Raises
    SceneError for an image that cannot be read.
    """
    for number, (name, path) in enumerate(data.images.items()):
        view = View(uri=str(path), truth=data.truth[name], classes=data.classes)
        for strategy in strategies:
            detector = detector_of(strategy)
            if strategy.omniscient and view.reachable is None:
                view = replace(
                    view, reachable=reachable(view, as_close_as_crops(strategy.config, detector.card), detector)
                )
            if number == 0:
                look(strategy, view, detector)
            tries = [look(strategy, view, detector) for _ in range(repeats)]
            best = min(tries, key=lambda one: one.seconds)
            yield name, strategy.name, replace(best, cpu_seconds=min(one.cpu_seconds for one in tries))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One image, and what is known of it."""

    uri: str
    truth: Annotations
    """Scene pixels, classes of the data."""
    classes: tuple[str, ...]
    reachable: FloatArray | None = None
    """(M,) the score that each annotation gets as close as crops are shown; for omniscient strategies."""


def reachable(view: View, whole: Strategy, detector: Detector) -> FloatArray:
    """(M,) the score that ``whole`` gives each annotated object."""
    return scores_of(view.truth.boxes, view.truth.class_ids, look(whole, view, detector).detections)


def look(strategy: Strategy, view: View, detector: Detector, read: ReadBlock = read_block) -> Measurement:
    """One strategy on one image, whose blocks are read by ``read``."""
    card, classes = detector.card, view.classes
    lattice = plan_scene(view.uri, strategy.config, card, None).lattice
    config = fitted(strategy, lattice, card)
    headers = plan_scene(view.uri, config, card, None)
    plan, order = screen(headers, config, card)
    on_lattice = annotations_on_lattice(view.truth, lattice)
    gain = None
    if strategy.omniscient:
        assert view.reachable is not None, "measured before"
        gain = oracle_gain(by_model(on_lattice, classes, card), view.reachable, lattice.window)
    clock = ReadingClock(read)
    executor = LocalExecutor(lambda: detector, gain=gain, read=clock)
    run = Run(config=config, card=card, executor=executor, aoi=None)
    results, found, seconds, cpu_seconds = _timed(plan, order, run, clock)
    return Measurement(
        detections=to_scene(by_annotation(found, classes, card), lattice),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        network_px=results.cost.network_px,
        crops=len(results.crops),
        tiles=len(plan.tiles),
        tiles_refined=results.cost.tiles_refined,
        failed=len(results.failures),
        seam_px=seam_distance(on_lattice.boxes[:, :2], headers.tiles, headers.lattice),
        lattice=lattice,
    )


class ReadingClock:
    """Reads blocks, and knows what that took."""

    def __init__(self, read: ReadBlock) -> None:
        self._read = read
        self.wall_s = self.cpu_s = 0.0
        """Seconds by the clock on the wall, and of this process's processors: reading waits, and a wait costs none."""

    def __call__(self, order: WorkOrder, block: Block) -> BlockPixels:
        """See :func:`pipeline.engine.block.read_block`."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return self._read(order, block)
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu


def _timed(
    plan: ScenePlan, order: WorkOrder, run: Run, reading: ReadingClock
) -> tuple[Account, Detections, float, float]:
    """The account of all blocks, the merged detections, and the seconds it took without reading, wall and processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    results = account(plan.tiles, run.executor.map(order, plan.blocks))
    detections = asked_for(merged(results.detections, run), plan)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return results, detections, wall - reading.wall_s, cpu - reading.cpu_s


def to_scene(detections: Detections, lattice: Lattice) -> Detections:
    """Detections of frame LATTICE in scene pixels."""
    boxes = corners_to_obb(lattice_to_scene(obb_to_corners(detections.boxes), lattice))
    return replace(detections, boxes=boxes, frame=Frame.SCENE)


def by_annotation(detections: Detections, classes: Sequence[str], card: ModelCard) -> Detections:
    """The model's class numbers → those of the annotations; detections of classes nobody annotated are left out."""
    number = np.array([classes.index(name) if name in classes else -1 for name in card.classes], np.int64)
    class_ids = number[detections.class_ids]
    return replace(detections, class_ids=class_ids)[class_ids >= 0]


def by_model(truth: Annotations, classes: Sequence[str], card: ModelCard) -> Annotations:
    """The annotations' class numbers → the model's; what the model does not know becomes an ignore region."""
    known = [card.classes.index(name) if name in card.classes else EVERY_CLASS for name in classes]
    class_ids = np.array([*known, EVERY_CLASS], np.int64)[truth.class_ids]  # the last answers for EVERY_CLASS, -1
    return Annotations(truth.boxes, class_ids, truth.ignore | (class_ids == EVERY_CLASS))


def detectors_of(weights: str, config: RunConfig) -> DetectorOf:
    """Loads each detector that strategies ask for once, from ``--weights``. Loading raises as ``weights.load`` does."""
    device, precision, threads = config.cluster.device, config.detector.dtype, config.cluster.threads
    runtime = config.detector.runtime

    @cache
    def loaded(queries: int | None) -> Detector:
        if queries is None:
            return load(weights, device, precision, threads, runtime)
        with tempfile.TemporaryDirectory() as folder:
            copy = with_queries(resolve_weights(weights, fetch_weights), queries, Path(folder) / "weights")
            return load(str(copy), device, precision, threads, runtime)

    return lambda strategy: loaded(strategy.queries)


def with_queries(weights: Path, queries: int, copy: Path) -> Path:
    """A copy of a checkpoint folder whose network takes another number of queries.

    They are the encoder's best proposals, so any number can be taken without training. Raises ConfigError for a
    checkpoint that does not say how many it takes; one whose queries are learned does not load (ModelError).
    """
    if onnx_file(weights) is not None:
        raise ConfigError(f"{weights} answers as many queries as it was exported with; leave out queries600")
    settings = json.loads((weights / "config.json").read_text())
    key = next((key for key in ("queries", "num_queries") if key in settings), None)
    if key is None:
        raise ConfigError(
            f"{weights / 'config.json'} does not say how many queries the network has; leave out queries600"
        )
    shutil.copytree(weights, copy)
    (copy / "config.json").write_text(json.dumps({**settings, key: queries}))
    return copy
