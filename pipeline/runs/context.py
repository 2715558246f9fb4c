"""What all scenes of a run share."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.config import RunConfig
from pipeline.engine.executor import Executor
from pipeline.planning.area import AreaOfInterest
from pipeline.reporting.journal import Journal
from pipeline.types import ModelCard

SILENT = Journal(lambda _: None)
"""For callers that look at the answer only."""


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
