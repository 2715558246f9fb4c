"""The executor that a feed asks for, started when there is something to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.detectors.weights import load_as_planned, model_card
from pipeline.engine.executor import Executor
from pipeline.engine.local import LocalExecutor
from pipeline.errors import ConfigError, SceneNotFound
from pipeline.planning.threshold import score_threshold
from pipeline.reporting.journal import Journal
from pipeline.runs.report import SceneReport
from pipeline.runs.run import SceneTask, detect_scenes
from pipeline.types import ModelCard


class Workers(contextlib.ExitStack):
    """The executor that the feed asks for, started by the first scene: a tick without work starts no cluster."""

    def __init__(self, base: RunConfig, journal: Journal, places: Sequence[Path] = ()) -> None:
        """``places``: what every machine that works must see."""
        super().__init__()
        self._places = places
        self._base, self._journal = base, journal
        self._ready: tuple[ModelCard, Executor] | None = None

    def detect(self, tasks: Iterable[SceneTask], in_flight: int | None, ended: Callable[[SceneReport], None]) -> None:
        """See :data:`pipeline.ingest.tick.Detect`."""
        card, executor = self._started()
        detect_scenes(tasks, card, executor, self._journal, in_flight=in_flight or executor.scenes, ended=ended)

    def tell(self, counts: dict[str, int], lag_s: float, oldest_failure_s: float) -> None:
        """Show the numbers of the ledger where those of the workers are shown."""
        if self._ready is not None:
            self._ready[1].metrics.ingest(counts, lag_s, oldest_failure_s)

    def _started(self) -> tuple[ModelCard, Executor]:
        if self._ready is None:
            config = self._base
            how = {"device": config.cluster.device, "precision": config.detector.dtype,
                   "runtime": config.detector.runtime}  # fmt: skip
            card = model_card(config.weights, **how)
            if card.described is not None:
                self._journal.emit("model", card.described, name=card.name, licence=card.licence, runtime=card.runtime)
            score_threshold(card, config.detector)
            loader = partial(load_as_planned, card.runtime, config.weights, how, config.cluster.threads)
            if config.executor == "local":
                executor: Executor = LocalExecutor(loader, max_attempts=config.cluster.max_attempts)
            else:
                from pipeline.cluster.executor import RayExecutor  # late: Ray is needed for nothing else

                executor = self.enter_context(RayExecutor(loader, config.cluster, self._journal))
            try:
                executor.check_visible(self._places)
            except SceneNotFound as error:  # where all of them lie: no single scene's fault
                raise ConfigError(str(error)) from error
            self._ready = card, executor
        return self._ready
