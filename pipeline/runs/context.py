"""What all scenes of a run share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config import RunConfig
from pipeline.config.environment import ignored_sentence
from pipeline.engine.executor import Executor
from pipeline.planning.area import AreaOfInterest
from pipeline.reporting.journal import Journal
from pipeline.reporting.progress import Progress
from pipeline.types import ModelCard

SILENT = Journal(lambda _: None)
"""For callers that look at the answer only."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What all scenes of a run share; where each has a configuration of its own, with that of one."""

    config: RunConfig
    card: ModelCard
    executor: Executor
    aoi: AreaOfInterest | None
    journal: Journal = field(default_factory=Journal)
    progress: Progress = field(default_factory=lambda: Progress(SILENT))

    def say(self, message: str) -> None:
        """A line for people."""
        self.journal.say(message)

    def warn(self, sentence: str, **facts: Any) -> None:
        """What a user should know before trusting a result."""
        self.journal.emit("warning", f"{WARNING}{sentence}", **facts)


WARNING = "warning: "
"""How the line of a warning begins."""


def forewarnings(ignored: Sequence[str], aoi: AreaOfInterest | None) -> Iterator[str]:
    """Warnings that concern all scenes of a run: variables of the environment that are ``ignored``, and how the area of
    interest was read."""
    if ignored:
        yield ignored_sentence(tuple(ignored))
    yield from () if aoi is None else aoi.notes
