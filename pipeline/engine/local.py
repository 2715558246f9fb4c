"""The executor of one process: blocks one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import ClusterConfig
from pipeline.engine.bisection import GiveUp, Retry, Tried, failed_block, next_step
from pipeline.engine.block import BlockPixels, read_block
from pipeline.engine.executor import Answer, Part
from pipeline.engine.worker import LoadDetector, TileWorker
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.metrics import Metrics
from pipeline.second_look.windows import Gain
from pipeline.types import Block, BlockOutcome

ReadBlock = Callable[[WorkOrder, Block], BlockPixels]
"""How the pixels of a block are had: :func:`pipeline.engine.block.read_block`, or what stands in for it."""


class LocalExecutor:
    """Works off blocks one after another in this process. The detector is loaded at the first block.

    A block that goes wrong is tried again and halved as everywhere (:func:`pipeline.engine.bisection.next_step`), also
    for an exception that is not ours: what a library raises costs its tiles, not the run. What remains different from
    a cluster: nobody watches, so a detector or a read that hangs hangs the run; what ends a process ends this one, and
    the next job goes on from the parts; and what a loader raises is raised here as it is, ours or not.
    """

    def __init__(
        self, load: LoadDetector, gain: Gain | None = None, max_attempts: int = ClusterConfig().max_attempts,
        read: ReadBlock = read_block,
    ) -> None:  # fmt: skip
        """``gain`` stands in for the configured selector of the second look (the evaluation's oracle), ``read`` for
        the reading of blocks (whose time the evaluation takes).

        ``max_attempts`` is how often a block may go wrong before it is halved.
        """
        self._load, self._gain, self._max_attempts, self._read = load, gain, max_attempts, read
        self._worker: TileWorker | None = None
        self.metrics = Metrics()

    def map(self, order: WorkOrder, blocks: Sequence[Block]) -> Iterator[BlockOutcome]:
        """See :class:`Executor`."""
        if blocks and self._worker is None:
            self._worker = TileWorker(self._load(), self._gain)
        for block in blocks:
            yield from self._outcomes(order, Tried(block=block, limit=self._max_attempts))

    def _outcomes(self, order: WorkOrder, tried: Tried) -> Iterator[BlockOutcome]:
        """One of the block, or one of each of the pieces that it had to be taken apart into, in the order of tiles."""
        assert self._worker is not None
        todo = [tried]
        while todo:
            tried = todo.pop()
            try:
                outcome = self._worker(order, tried.block, self._read(order, tried.block))
            except Exception as error:  # noqa: BLE001 - as in a cluster, whatever goes wrong must cost its tiles only
                step = next_step(tried, error)
                if isinstance(step, GiveUp):
                    yield failed_block(step.tried, error)
                elif isinstance(step, Retry):
                    self.metrics.count(blocks_recomputed=1)
                    todo.append(step.tried)
                else:
                    self.metrics.count(blocks_bisected=1)
                    todo += [step.second, step.first]
            else:
                yield outcome

    def run(self, function: Callable[[Part], Answer], parts: Iterable[Part]) -> Iterator[Answer]:
        """See :class:`Executor`."""
        return map(function, parts)

    def check_visible(self, paths: Iterable[Path]) -> None:
        """This process sees what it sees; opening the scene tells."""

    def record(self) -> dict[str, Any]:
        """See :class:`Executor`."""
        return {"executor": "local", "workers": 1}
