"""Who does the work: what the main path asks of an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.planning.plan import WorkOrder
from pipeline.reporting.metrics import Metrics
from pipeline.types import Block, BlockOutcome

Part = TypeVar("Part")
Answer = TypeVar("Answer")


class Executor(Protocol):
    """Turns blocks into outcomes: exactly one outcome per tile, blocks in any order. For several threads at once."""

    metrics: Metrics
    """What the work of the run is counted in."""

    @property
    def scenes(self) -> int:
        """How many scenes are best worked on at once, each by a thread of its own."""
        ...

    def map(self, order: WorkOrder, blocks: Sequence[Block], metrics: Metrics | None = None) -> Iterator[BlockOutcome]:
        """Outcomes as they come. A block that fails is bisected, so each failure names one tile.

        ``metrics``: of the scene, what its work is counted in; those of the run when there are none.
        Raises ModelError when the detector cannot be loaded, ClusterError when no progress can be made, Halted when
        this thread is told to stop.
        """
        ...

    def run(self, function: Callable[[Part], Answer], parts: Iterable[Part]) -> Iterator[Answer]:
        """A pure function of every part, answers in the order of the parts; ``parts`` is drawn from as work goes on.

        What the function raises is raised here. Raises ClusterError when a part cannot be worked off.
        """
        ...

    def check_visible(self, paths: Iterable[Path]) -> None:
        """Raise SceneNotFound when a machine that would do the work cannot see one of these local paths."""
        ...

    def record(self) -> dict[str, Any]:
        """What the run record should say about who did the work."""
        ...
