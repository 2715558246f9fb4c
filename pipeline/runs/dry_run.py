"""``--dry-run``: the plan of every scene of a run, its cost, and what will hurt. Reads headers only, writes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np

from pipeline.config import RunConfig
from pipeline.detectors.flips import Flipping
from pipeline.detectors.weights import load, model_card
from pipeline.errors import EXIT_OK, OutsideArea, PipelineError, redacted
from pipeline.planning.area import AreaOfInterest, area_of_interest
from pipeline.planning.inspection import Pace, inspect
from pipeline.planning.inspection_text import render_text
from pipeline.planning.plan import grouped, plan_scene
from pipeline.planning.threshold import score_threshold
from pipeline.planning.tiles import resolve_tile_px
from pipeline.raster.own_data import own_data
from pipeline.runs.context import WARNING, forewarnings
from pipeline.runs.run import check_run
from pipeline.types import Chip, ModelCard, Window

PROCESS_S = 4.0
"""A process of ours until it loads the detector: Python and the libraries, on the 2 cores of the benchmarks."""
CLUSTER_S = 10.0
"""A local cluster until its workers begin to load, there."""


def describe_run(config: RunConfig) -> Iterator[tuple[str, int]]:
    """One text per scene, and the exit code a run would end with because of it.

    Raises ConfigError and ModelError for what concerns the run as a whole.
    """
    check_run(config)
    card = model_card(config.weights, config.cluster.device, config.detector.dtype, config.detector.runtime)
    score_threshold(card, config.detector)
    if card.described is not None:
        yield card.described, EXIT_OK
    pace = measured_pace(config, card)
    with own_data() as ignored:
        aoi = area_of_interest(config)
        for sentence in forewarnings(ignored, aoi):
            yield f"{WARNING}{sentence}", EXIT_OK
        for uri in config.scene:
            yield _described(uri, config, card, aoi, pace)


def _described(uri: str, config: RunConfig, card: ModelCard, aoi: AreaOfInterest | None, pace: Pace) -> tuple[str, int]:
    """One scene: its text, and its exit code."""
    try:
        plan = plan_scene(uri, config, card, aoi)
        return render_text(inspect(grouped(plan, config), card, config, pace)), 0
    except OutsideArea as error:
        return f"scene  {redacted(uri)}\nskipped: {error}", EXIT_OK if len(config.scene) > 1 else error.exit_code
    except PipelineError as error:
        return f"scene  {redacted(uri)}\nerror: {error}", error.exit_code
    except Exception as error:  # noqa: BLE001 - a defect over one scene must not cost the others their lines
        return f"scene  {redacted(uri)}\nerror: a defect of ours, please report it: {redacted(repr(error))}", 1


def measured_pace(config: RunConfig, card: ModelCard) -> Pace:
    """Seconds to start, and per tile of one worker, from two looks of the real detector at a grey chip.

    The second one is timed. A second look is counted in full, though empty sea will not cost it.
    """
    begun = time.perf_counter()
    loaded = load(
        config.weights, config.cluster.device, config.detector.dtype, config.cluster.threads, config.detector.runtime
    )
    detector = Flipping(loaded) if config.detector.flips else loaded
    side = max(1, round(resolve_tile_px(config.tiling, card) / config.tiling.global_factor))
    grey = np.full((side, side, len(card.bands)), 128, np.uint8)
    chip = Chip(pixels=grey, window=Window(x=0, y=0, width=side, height=side))
    detector.detect([chip], score_threshold=1.0)
    start_s = PROCESS_S + time.perf_counter() - begun
    started = time.perf_counter()
    detector.detect([chip], score_threshold=1.0)
    seconds = time.perf_counter() - started
    if config.looks_twice:
        seconds *= 1 + config.refine.budget
    wanted = config.cluster.workers
    workers = max(1, (os.cpu_count() or 1) // config.cluster.threads) if wanted == "auto" else wanted
    if config.executor == "local":
        workers = 1
    else:
        start_s += PROCESS_S if config.cluster.address else CLUSTER_S
    return Pace(
        seconds_per_tile=seconds, workers=workers, start_s=start_s, source="measured here, one look at a grey tile"
    )
