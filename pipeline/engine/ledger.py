"""What became of every tile. ``planned == done + failed`` or nothing is published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import PipelineError
from pipeline.types import BlockOutcome, BoolArray, Cost, Crop, Detections, Failed, Frame, IntArray, Tile


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """All outcomes of one scene, in the order of the plan whatever the order they came in."""

    detections: Detections
    """In frame LATTICE."""
    failures: tuple[Failed, ...]
    tiles_done: int
    notes: tuple[str, ...]
    cost: Cost
    """Of all blocks, those of earlier jobs included."""
    crops: tuple[Crop, ...] = ()
    """What the second look took, by place."""
    tiles_kept: int = 0
    """Of ``tiles_done``, those that an earlier job had done."""


def account(tiles: Sequence[Tile], outcomes: Iterable[BlockOutcome]) -> Account:
    """Collect the outcomes of ``tiles`` as they come; none is held on to.

    A tile that was done twice (its block was recomputed after its worker went silent) counts once; a tile that is
    done in one outcome and failed in another is done. Raises PipelineError when a tile is missing or unknown: that
    is a defect of ours, and a scene with a silent hole must never be published.
    """
    kept = _Kept.of(tiles)
    failed: dict[str, Failed] = {}
    notes: list[str] = []
    cost = Cost()
    crops: list[Crop] = []
    for outcome in outcomes:
        kept.add(outcome)
        failed.update({one.tile_id: one for one in outcome.failed})
        notes += outcome.notes
        cost += outcome.cost
        crops += outcome.crops
    done = kept.done
    planned = [tile.tile_id for tile in tiles]
    holes = [tile_id for tile_id, seen in zip(planned, done, strict=True) if not seen and tile_id not in failed]
    strangers = kept.strangers | (failed.keys() - kept.row_of.keys())
    if holes or strangers:
        raise PipelineError(
            f"the tiles do not add up: of {len(planned)} planned, {len(holes)} have no outcome (first: {holes[:3]}) "
            f"and {len(strangers)} outcomes belong to no planned tile; nothing is published, please report this"
        )
    return Account(
        detections=kept.detections(),
        failures=tuple(failed[tile_id] for tile_id in planned if tile_id in failed and not done[kept.row_of[tile_id]]),
        tiles_done=int(done.sum()),
        notes=tuple(sorted(set(notes))),
        cost=cost,
        crops=tuple(sorted(crops, key=lambda crop: (crop.window.y, crop.window.x, crop.window.width))),
    )


@dataclass(slots=True, eq=False)
class _Kept:
    """What was found, one table per outcome, and where the rows of each tile stand. A tile by itself costs bytes."""

    row_of: dict[str, int]
    """Place of each tile in the plan."""
    rows: IntArray
    """(tiles, 3) for each tile its outcome's number, and its first row and the end of its rows there; -1 before."""
    tables: list[Detections] = field(default_factory=list)
    strangers: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, tiles: Sequence[Tile]) -> _Kept:
        return cls({tile.tile_id: row for row, tile in enumerate(tiles)}, np.full((len(tiles), 3), -1, np.int64))

    @property
    def done(self) -> BoolArray:
        """(tiles,)"""
        return np.asarray(self.rows[:, 0] >= 0)

    def add(self, outcome: BlockOutcome) -> None:
        """A tile that was done before counts as this outcome has it."""
        end = 0
        for one in outcome.done:
            start, end = end, end + len(one.detections)
            row = self.row_of.get(one.tile_id)
            if row is None:
                self.strangers.add(one.tile_id)
            else:
                self.rows[row] = len(self.tables), start, end
        self.tables.append(Detections.concat([one.detections for one in outcome.done], Frame.LATTICE))

    def detections(self) -> Detections:
        """All of them, tile after tile in the order of the plan."""
        before = np.cumsum([0, *(len(table) for table in self.tables)])
        table, start, end = self.rows[self.done].T
        count = end - start
        place = np.repeat(before[table] + start - (np.cumsum(count) - count), count) + np.arange(count.sum())
        return Detections.concat(self.tables, Frame.LATTICE)[place]
