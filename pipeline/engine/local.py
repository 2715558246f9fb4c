"""The executor of one process: blocks one after another, whichever scene they are of."""

from __future__ import annotations

import threading
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
from pipeline.threads import look_up
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
        self._looking = threading.Lock()
        """There is one detector, and it looks at one block at a time."""
        self.metrics = Metrics()

    @property
    def scenes(self) -> int:
        """Of two, one is looked at while the other is planned, read or published."""
        return 2

    def map(self, order: WorkOrder, blocks: Sequence[Block], metrics: Metrics | None = None) -> Iterator[BlockOutcome]:
        """See :class:`Executor`."""
        if not blocks:
            return
        with self._looking:
            worker = self._worker = self._worker or TileWorker(self._load(), self._gain)
        for block in blocks:
            tried = Tried(block=block, limit=self._max_attempts)
            yield from self._outcomes(worker, order, tried, metrics or self.metrics)

    def _outcomes(self, worker: TileWorker, order: WorkOrder, tried: Tried, metrics: Metrics) -> Iterator[BlockOutcome]:
        """One of the block, or one of each of the pieces that it had to be taken apart into, in the order of tiles."""
        todo = [tried]
        while todo:
            tried = todo.pop()
            look_up()
            try:
                outcome = self._look(worker, order, tried.block, self._read(order, tried.block))
            except Exception as error:  # noqa: BLE001 - as in a cluster, whatever goes wrong must cost its tiles only
                step = next_step(tried, error)
                if isinstance(step, GiveUp):
                    yield failed_block(step.tried, error)
                elif isinstance(step, Retry):
                    metrics.count(blocks_recomputed=1)
                    todo.append(step.tried)
                else:
                    metrics.count(blocks_bisected=1)
                    todo += [step.second, step.first]
            else:
                yield outcome

    def _look(self, worker: TileWorker, order: WorkOrder, block: Block, pixels: BlockPixels) -> BlockOutcome:
        with self._looking:
            for said in worker.steps(order, block, pixels):
                look_up()
                if isinstance(said, BlockOutcome):
                    return said
        raise AssertionError("a look ends with its outcome")

    def run(self, function: Callable[[Part], Answer], parts: Iterable[Part]) -> Iterator[Answer]:
        """See :class:`Executor`."""
        for part in parts:
            look_up()
            yield function(part)

    def check_visible(self, paths: Iterable[Path]) -> None:
        """This process sees what it sees; opening the scene tells."""

    def record(self) -> dict[str, Any]:
        """See :class:`Executor`."""
        return {"executor": "local", "workers": 1}
