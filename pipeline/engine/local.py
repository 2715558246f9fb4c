"""The executor of one process: blocks one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.engine.bisection import bisect, failed_block
from pipeline.engine.block import read_block
from pipeline.engine.executor import Answer, Part
from pipeline.engine.worker import LoadDetector, TileWorker
from pipeline.errors import PipelineError
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.metrics import Metrics
from pipeline.second_look.windows import Gain
from pipeline.types import Block, BlockOutcome


class LocalExecutor:
    """Works off blocks one after another in this process. The detector is loaded at the first block.

    Nobody watches it: a detector or a read that hangs hangs the run.
    """

    def __init__(self, load: LoadDetector, gain: Gain | None = None) -> None:
        """``gain`` stands in for the configured selector of the second look (the evaluation's oracle)."""
        self._load, self._gain = load, gain
        self._worker: TileWorker | None = None
        self.metrics = Metrics()

    def map(self, order: WorkOrder, blocks: Sequence[Block]) -> Iterator[BlockOutcome]:
        """See :class:`Executor`."""
        if blocks and self._worker is None:
            self._worker = TileWorker(self._load(), self._gain)
        for block in blocks:
            yield from self._outcomes(order, block)

    def _outcomes(self, order: WorkOrder, block: Block) -> Iterator[BlockOutcome]:
        assert self._worker is not None
        try:
            pixels = read_block(order, block)
        except PipelineError as error:
            if len(block.tiles) == 1:
                yield failed_block(block, error)
                return
            self.metrics.count(blocks_bisected=1)
            for half in bisect(block):
                yield from self._outcomes(order, half)
            return
        yield self._worker(order, block, pixels)

    def run(self, function: Callable[[Part], Answer], parts: Iterable[Part]) -> Iterator[Answer]:
        """See :class:`Executor`."""
        return map(function, parts)

    def check_visible(self, paths: Iterable[Path]) -> None:
        """This process sees what it sees; opening the scene tells."""

    def record(self) -> dict[str, Any]:
        """See :class:`Executor`."""
        return {"executor": "local", "workers": 1}
