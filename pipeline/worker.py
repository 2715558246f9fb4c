"""Block → detections: cut chips, look at each, bring boxes to the lattice. Knows no Ray and no scheduler.

The unit of failure is the tile: whatever a detector raises is narrowed down to the chip that causes it, and the
others are still looked at. Batches never reach across blocks, so the order in which blocks are worked off cannot
change a result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil

from pipeline.config import RasterConfig
from pipeline.detectors.base import Detector
from pipeline.errors import PipelineError
from pipeline.geometry import chip_to_lattice, near_inner_edge
from pipeline.raster import SceneReader
from pipeline.resampling import resample
from pipeline.types import (
    Block,
    BlockOutcome,
    BoolArray,
    ByteArray,
    Chip,
    Detections,
    Done,
    Failed,
    Frame,
    Lattice,
    Scene,
    Stretch,
    Tile,
    Window,
)

LoadDetector = Callable[[], Detector]
"""Makes the detector inside a worker process. Picklable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePlan:
    """All that a worker has to know of a scene; pickles to a few kilobytes."""

    scene: Scene
    lattice: Lattice
    stretch: Stretch
    raster: RasterConfig
    score_threshold: float
    batch: int
    global_factor: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class BlockPixels:
    """The pixels of one block, read once; overlapping chips are views into it."""

    window: Window
    pixels: ByteArray
    """(H, W, C) uint8 lattice pixels."""
    valid: BoolArray
    """(H, W)"""
    read_s: float

    def chip(self, window: Window) -> tuple[ByteArray, BoolArray]:
        """Views of the pixels and validity of a lattice window inside the block."""
        rows = slice(window.y - self.window.y, window.y1 - self.window.y)
        columns = slice(window.x - self.window.x, window.x1 - self.window.x)
        return self.pixels[rows, columns], self.valid[rows, columns]


def read_block(plan: ScenePlan, block: Block) -> BlockPixels:
    """Read a block's window. Raises SceneError when the file is damaged there, StorageError when out of reach."""
    started = time.perf_counter()
    with SceneReader(plan.scene, plan.lattice, plan.stretch, plan.raster) as reader:
        pixels, valid = reader.read(block.window)
    return BlockPixels(block.window, pixels, valid, time.perf_counter() - started)


def bisect(block: Block) -> tuple[Block, Block]:
    """Two halves of a block of at least two tiles, each with the smallest window that holds its tiles."""
    middle = len(block.tiles) // 2
    return _subblock(block, block.tiles[:middle]), _subblock(block, block.tiles[middle:])


def _subblock(block: Block, tiles: tuple[Tile, ...]) -> Block:
    window = tiles[0].window
    for tile in tiles[1:]:
        window = window.union(tile.window)
    return Block(block_id=block.block_id, window=window, tiles=tiles)


def failed_block(block: Block, error: BaseException, attempts: int = 1) -> BlockOutcome:
    """Every tile of ``block`` failed for the same reason."""
    failed = tuple(Failed(tile.tile_id, type(error).__name__, one_sentence(error), attempts) for tile in block.tiles)
    return BlockOutcome(block.block_id, (), failed)


def one_sentence(error: BaseException) -> str:
    """The first line of what an error says; its class name when it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__


@dataclass(slots=True)
class TileWorker:
    """Holds one detector and applies it to blocks. Remembers only how large a batch fits into memory."""

    detector: Detector
    largest_batch: int = 1 << 30
    notes: list[str] = field(default_factory=list)

    def __call__(self, plan: ScenePlan, block: Block, pixels: BlockPixels) -> BlockOutcome:
        """Look at every tile of ``block``; never raises for what a tile causes."""
        started = time.perf_counter()
        self.notes = []
        done: list[Done] = []
        failed: list[Failed] = []
        seen = [tile for tile in block.tiles if pixels.chip(tile.window)[1].any()]
        blank = set(block.tiles) - set(seen)
        done += [Done(tile.tile_id, Detections.empty(Frame.LATTICE)) for tile in block.tiles if tile in blank]
        size = min(plan.batch, self.largest_batch)
        for start in range(0, len(seen), size):
            self._look(plan, seen[start : start + size], pixels, done, failed)
        return BlockOutcome(
            block_id=block.block_id,
            done=tuple(done),
            failed=tuple(failed),
            read_s=pixels.read_s,
            detect_s=time.perf_counter() - started,
            peak_rss_bytes=psutil.Process().memory_info().rss,
            notes=tuple(self.notes),
        )

    def _look(
        self, plan: ScenePlan, tiles: Sequence[Tile], pixels: BlockPixels, done: list[Done], failed: list[Failed]
    ) -> None:
        """Look at one batch; on any error look at its halves, down to the tile that causes it."""
        try:
            done += self._detect(plan, tiles, pixels)
        except Exception as error:  # noqa: BLE001 - whatever a chip provokes must cost that chip only
            if len(tiles) == 1:
                failed.append(Failed(tiles[0].tile_id, type(error).__name__, one_sentence(error)))
                return
            middle = len(tiles) // 2
            if isinstance(error, MemoryError):
                self.largest_batch = middle
                self.notes.append(f"batch halved to {middle} after an out-of-memory error: {one_sentence(error)}")
            elif not isinstance(error, PipelineError):
                self.notes.append(f"batch of {len(tiles)} split after {type(error).__name__}: {one_sentence(error)}")
            self._look(plan, tiles[:middle], pixels, done, failed)
            self._look(plan, tiles[middle:], pixels, done, failed)

    def _detect(self, plan: ScenePlan, tiles: Sequence[Tile], pixels: BlockPixels) -> list[Done]:
        chips = [
            _shrunk(Chip(pixels=pixels.chip(tile.window)[0], window=tile.window), plan.global_factor) for tile in tiles
        ]
        looks = self.detector.detect(chips, score_threshold=plan.score_threshold)
        return [
            Done(tile.tile_id, to_lattice(_grown(look.detections, plan.global_factor), tile, plan.lattice, pixels))
            for tile, look in zip(tiles, looks, strict=True)
        ]


def to_lattice(detections: Detections, tile: Tile, lattice: Lattice, pixels: BlockPixels) -> Detections:
    """Chip frame → lattice frame; flags boxes near inner edges, drops boxes whose centre is no valid pixel."""
    boxes = chip_to_lattice(detections.boxes, tile.window)
    edge = near_inner_edge(boxes, tile.window, lattice.window)
    count = len(boxes)
    moved = Detections(
        boxes=boxes,
        scores=detections.scores,
        class_ids=detections.class_ids,
        frame=Frame.LATTICE,
        edge=edge,
        tile_index=np.full(count, tile.index, np.int64),
        stage=detections.stage,
        n_merged=detections.n_merged,
        entropy=detections.entropy,
    )
    column = np.clip(np.floor(boxes[:, 0]).astype(np.int64) - pixels.window.x, 0, pixels.window.width - 1)
    row = np.clip(np.floor(boxes[:, 1]).astype(np.int64) - pixels.window.y, 0, pixels.window.height - 1)
    return moved[pixels.valid[row, column]]


def _shrunk(chip: Chip, factor: float) -> Chip:
    """The chip as the global look sees it: ``factor`` times smaller, through the project's one resampler."""
    if factor == 1.0:
        return chip
    height, width = chip.pixels.shape[:2]
    small = Lattice(
        width=max(1, round(width / factor)),
        height=max(1, round(height / factor)),
        scale_x=factor,
        scale_y=factor,
        gsd_m=None,
    )
    source = Window(x=0, y=0, width=width, height=height)
    valid = np.ones((height, width), np.bool_)
    pixels, _ = resample(chip.pixels, valid, source, small.window, small, width, height)
    return Chip(pixels=np.rint(pixels).astype(np.uint8), window=chip.window)


def _grown(detections: Detections, factor: float) -> Detections:
    """Boxes of a shrunk chip, back in chip pixels."""
    if factor == 1.0:
        return detections
    boxes = detections.boxes * np.array([factor, factor, factor, factor, 1.0])
    return Detections(boxes, detections.scores, detections.class_ids, detections.frame)
