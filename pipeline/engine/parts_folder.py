"""What a job has done so far, where the next one finds it: a part for every finished block of a scene.

Parts lie in ``OUT/<scene_id>/_work`` under names that are hashes of all that their content depends on: the scene's
version, the block, how its pixels are read, the detector and its settings. So whatever is found under a name may be
used, and what was made otherwise is never mixed in. What matters only after detection (score threshold, merging,
exports) is in no name: a change of it needs no detector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pipeline.engine.parts import DamagedPart, read_part, write_part
from pipeline.storage.files import file_ages, file_names, read_file, remove_file, sweep_parts, write_file
from pipeline.storage.paths import join
from pipeline.types import Block, BlockOutcome

MAPS = ((), ("attention",), ("difference",), ("attention", "difference"))
"""What a part may hold beside detections, fewest first; its file name says so."""
THREADS = 8
"""Parts read or written at once: an object store answers each only after a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFolder:
    """The parts of one scene that were made by one recipe."""

    folder: str
    """``OUT/<scene_id>/_work``."""
    recipe_sha256: str
    attention: bool = False
    """Whether parts must hold attention maps. They are parts of their own, and serve also where none are needed."""
    difference: bool = False
    """The same of difference maps."""

    def names(self, block: Block) -> tuple[str, ...]:
        """File names under which a part of ``block`` may lie, the one to write first."""
        tiles = [[tile.tile_id, tile.index, *_corners(tile.core), *_corners(tile.window)] for tile in block.tiles]
        content = [self.recipe_sha256, _corners(block.window), tiles]
        stem = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
        needed = {name for name, wanted in (("attention", self.attention), ("difference", self.difference)) if wanted}
        return tuple(".".join((stem, *held, "parquet")) for held in MAPS if needed <= set(held))

    def kept(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, BlockOutcome | None]]:
        """Every block with its outcome, or None where there is no part of it (or a damaged one). In order.

        Raises StorageError when the folder cannot be read.
        """
        there = file_names(self.folder)
        names = [next((name for name in self.names(block) if name in there), None) for block in blocks]
        step = 4 * THREADS  # so many outcomes are in memory at once
        with ThreadPoolExecutor(THREADS, "parts") as pool:
            for start in range(0, len(blocks), step):
                part = slice(start, start + step)
                yield from zip(blocks[part], pool.map(self._read, blocks[part], names[part]), strict=True)

    def keep(self, block: Block, outcome: BlockOutcome) -> None:
        """Write the part of a block of which every tile has an outcome. Raises StorageError."""
        write_file(join(self.folder, self.names(block)[0]), write_part(outcome))

    def clean(self, blocks: Iterable[Block]) -> int:
        """Remove every part that is of no use to these blocks; returns how many. Raises StorageError."""
        useful = {name for block in blocks for name in self.names(block)}
        return self._remove(file_names(self.folder) - useful)

    def expire(self, blocks: Iterable[Block], older_than_s: float) -> int:
        """Remove every part older than that, by the store's word, that is of no use to these blocks.

        Returns how many. Raises StorageError.
        """
        useful = {name for block in blocks for name in self.names(block)}
        ages = file_ages(self.folder)
        return self._remove({name for name, age in ages.items() if age is not None and age > older_than_s} - useful)

    def sweep(self) -> None:
        """Remove what killed jobs left half-written. Only for who holds the scene's lease."""
        sweep_parts(self.folder)

    def _remove(self, names: set[str]) -> int:
        with ThreadPoolExecutor(THREADS, "parts") as pool:
            list(pool.map(lambda name: remove_file(join(self.folder, name)), sorted(names)))
        return len(names)

    def _read(self, block: Block, name: str | None) -> BlockOutcome | None:
        data = None if name is None else read_file(join(self.folder, name))
        if data is None:
            return None
        try:
            outcome = read_part(data)
        except DamagedPart:  # a disk that filled up, a machine that lost power: do the block again
            return None
        attention = outcome.attention if self.attention else ()
        difference = outcome.difference if self.difference else ()
        return replace(outcome, block_id=block.block_id, attention=attention, difference=difference)


def _corners(window: Any) -> tuple[int, int, int, int]:
    return window.x, window.y, window.width, window.height
