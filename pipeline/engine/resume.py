"""Blocks → outcomes, doing only what no earlier job has done, and keeping what this one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import TracebackType

from pipeline.engine.executor import Executor
from pipeline.engine.parts_folder import THREADS, WorkFolder
from pipeline.errors import ConfigError
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.metrics import Metrics
from pipeline.types import Block, BlockOutcome, Cost, Done

UNWRITTEN = 2 * THREADS
"""Parts that may wait to be written: bounds memory when the store is slower than the detectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How a run goes on from what lies in a work folder."""

    work: WorkFolder
    order: WorkOrder
    """As the recipe of the parts has it: its score threshold is the one from which on parts keep detections."""
    only_merge: bool = False
    """No detector: every block must have been done."""
    afresh: bool = False
    """Do every block again."""
    say: Callable[[str], None]

    def outcomes(
        self, executor: Executor, blocks: Sequence[Block], score_threshold: float, metrics: Metrics
    ) -> Iterator[tuple[BlockOutcome, bool]]:
        """The outcomes of all blocks, without detections below ``score_threshold``, and whether each is fresh.

        What was kept comes first; ``metrics`` count the work on the others. A block with a failed tile is done again,
        but for ``only_merge``.
        Raises ConfigError when that finds a block that was never done, StorageError when parts cannot be read or
        written, and what the executor raises.
        """
        todo: list[Block] = []
        kept_tiles = 0
        for block, outcome in ((block, None) for block in blocks) if self.afresh else self.work.kept(blocks):
            if outcome is None or (outcome.failed and not self.only_merge):
                todo.append(block)
                continue
            kept_tiles += len(block.tiles)
            yield above(outcome, score_threshold), False
        if self.only_merge and todo:
            raise ConfigError(
                f"--from merge: {len(todo)} of {len(blocks)} blocks have not been looked at with these settings; run "
                "without it to do them"
            )
        if kept_tiles:
            left = sum(len(block.tiles) for block in todo)
            self.say(f"{kept_tiles} tiles in {len(blocks) - len(todo)} blocks were done before; {left} tiles to do")
        with _Keeper(self.work, todo) as keeper:
            for outcome in executor.map(self.order, todo, metrics):
                keeper.add(outcome)
                yield above(outcome, score_threshold), True


def above(outcome: BlockOutcome, score_threshold: float) -> BlockOutcome:
    """The outcome without detections below ``score_threshold``."""
    done = tuple(
        Done(one.tile_id, one.detections[one.detections.scores >= score_threshold]) if len(one.detections) else one
        for one in outcome.done
    )
    return replace(outcome, done=done)


@dataclass(slots=True)
class _Keeper:
    """Writes a part as soon as every tile of its block has an outcome, in the background.

    Leaving it waits for all that was begun, also after an error: what was done is done.
    """

    work: WorkFolder
    blocks: Sequence[Block]
    _by_id: dict[int, Block] = field(default_factory=dict)
    _halves: dict[int, list[BlockOutcome]] = field(default_factory=dict)
    _writing: set[Future[None]] = field(default_factory=set)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "parts"))

    def __enter__(self) -> _Keeper:
        self._by_id = {block.block_id: block for block in self.blocks}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self._raise_failures(self._writing)

    def add(self, outcome: BlockOutcome) -> None:
        """Take an outcome of a block, or of a part of one that was bisected. Raises StorageError of earlier writes."""
        block = self._by_id[outcome.block_id]
        parts = self._halves.setdefault(outcome.block_id, [])
        parts.append(outcome)
        told = {one.tile_id for part in parts for one in part.done} | {
            one.tile_id for part in parts for one in part.failed
        }
        if len(told) < len(block.tiles):
            return
        self._writing.add(self._pool.submit(self.work.keep, block, together(parts)))
        del self._halves[outcome.block_id]
        ended = {one for one in self._writing if one.done()}
        if len(self._writing) - len(ended) >= UNWRITTEN:
            ended |= wait(self._writing - ended, return_when=FIRST_COMPLETED).done
        self._writing -= ended
        self._raise_failures(ended)

    @staticmethod
    def _raise_failures(ended: set[Future[None]]) -> None:
        for one in ended:
            one.result()


def together(parts: Sequence[BlockOutcome]) -> BlockOutcome:
    """One outcome of the parts of a block that was bisected."""
    if len(parts) == 1:
        return parts[0]
    done = {one.tile_id: one for part in parts for one in part.done}
    failed = {one.tile_id: one for part in parts for one in part.failed if one.tile_id not in done}
    return BlockOutcome(
        block_id=parts[0].block_id,
        done=tuple(done.values()),
        failed=tuple(failed.values()),
        cost=sum((part.cost for part in parts), Cost()),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        crops=tuple(crop for part in parts for crop in part.crops),
        attention=tuple(one for part in parts for one in part.attention),
        difference=tuple(one for part in parts for one in part.difference),
    )
