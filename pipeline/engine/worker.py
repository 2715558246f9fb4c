"""Block → detections: cut chips, look at each, bring boxes to the lattice. Knows no Ray and no scheduler.

The unit of failure is the tile: whatever a detector raises is narrowed down to the chip that causes it, and the
others are still looked at. Batches never reach across blocks, so the order in which blocks are worked off cannot
change a result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import psutil

from pipeline.detectors.flips import VIEWS, Flipping
from pipeline.detectors.protocol import Detector
from pipeline.detectors.torch_process import memory_errors
from pipeline.engine.block import BlockPixels
from pipeline.errors import PipelineError, one_sentence
from pipeline.geometry.frames import chip_to_lattice, near_inner_edge
from pipeline.geometry.obb import scaled
from pipeline.pixels.shrinking import as_part, shrunk
from pipeline.planning.plan import WorkOrder
from pipeline.planning.tiles import EDGE_MARGIN_PX
from pipeline.second_look.look import SecondLook, TileView
from pipeline.second_look.windows import Gain
from pipeline.types import (
    AttentionMap,
    Block,
    BlockOutcome,
    Chip,
    Cost,
    Detections,
    DifferenceMap,
    Done,
    Failed,
    Frame,
    Look,
    Tile,
    Window,
)

EMPTY_EXPORT = "this detector gives no {name} map: {name}.tif is empty"

LoadDetector = Callable[[], Detector]
"""Makes the detector inside a worker process. Picklable."""


@dataclass(slots=True)
class TileWorker:
    """Holds one detector and applies it to blocks. Remembers only how large a batch fits into memory."""

    detector: Detector
    gain: Gain | None = None
    """What the second look goes by, in place of the configured selector; only the evaluation has such."""
    eye: Detector = field(init=False)
    """What looks: the detector, or it and its mirrored looks."""
    largest_batch: int = 1 << 30
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.eye = self.detector

    def __call__(self, order: WorkOrder, block: Block, pixels: BlockPixels) -> BlockOutcome:
        """Look at every tile of ``block``, and again where it pays; never raises for what a tile causes."""
        *_, outcome = self.steps(order, block, pixels)
        assert isinstance(outcome, BlockOutcome)
        return outcome

    def steps(self, order: WorkOrder, block: Block, pixels: BlockPixels) -> Iterator[int | BlockOutcome]:
        """The same, with signs of life: after every batch the number of its chips, and the outcome last."""
        started = time.perf_counter()
        self.notes, self.eye = [], Flipping(self.detector) if order.flips else self.detector
        second = SecondLook(
            config=order.refine, gain=self.gain, lattice=order.lattice, factor=order.global_factor,
            score_threshold=order.score_threshold,
        )  # fmt: skip
        tiles = [tile for tile in block.tiles if pixels.visible(tile.window)]
        chips = [shrunk(pixels.as_chip(tile.window), order.global_factor) for tile in tiles]
        attention = second.attention or order.export_attention
        looks = yield from self._look(chips, order.batch, second.lowest_score, attention)
        views = [
            TileView(tile=tile, picture=chip, look=look, seen=look_to_lattice(look.detections, tile, order, pixels))
            for tile, chip, look in zip(tiles, chips, looks, strict=True)
            if isinstance(look, Look)
        ]
        crops = second.crops(views, pixels.visible)
        again = [
            as_part(shrunk(pixels.as_chip(crop.window), second.crop_factor), views[crop.row].picture) for crop in crops
        ]
        more = yield from self._look(again, order.batch, second.lowest_score, attention=False)
        lacking = second.lacks(views)
        self.notes += [*([] if lacking is None else [lacking]), *_empty_exports(order, views)]
        failed = {tile.tile_id: look for tile, look in zip(tiles, looks, strict=True) if isinstance(look, Exception)}
        found = {tile.tile_id: Detections.empty(Frame.LATTICE) for tile in block.tiles}
        for row, view in enumerate(views):
            mine = [(crop, look) for crop, look in zip(crops, more, strict=True) if crop.row == row]
            lost = [look for _, look in mine if isinstance(look, Exception)]
            if lost:
                failed[view.tile.tile_id] = lost[0]
                continue
            looked = [(crop, look) for crop, look in mine if isinstance(look, Look)]
            found[view.tile.tile_id] = second.fused(view, looked, pixels.valid_at)
        yield BlockOutcome(
            block_id=block.block_id,
            done=tuple(Done(tile_id, boxes) for tile_id, boxes in found.items() if tile_id not in failed),
            failed=tuple(Failed(name, type(why).__name__, one_sentence(why)) for name, why in failed.items()),
            cost=Cost(
                read_s=pixels.read_s,
                detect_s=time.perf_counter() - started,
                peak_rss_bytes=psutil.Process().memory_info().rss,
                tiles_refined=len({crop.row for crop in crops}),
                network_px=_pixels((*chips, *again)) * (len(VIEWS) if order.flips else 1),
                bytes_read=pixels.bytes_read,
            ),
            notes=(*pixels.notes, *self.notes),
            crops=tuple(crops),
            attention=_attention(views) if order.export_attention else (),
            difference=_difference(views) if order.export_difference else (),
        )

    def _look(
        self, chips: Sequence[Chip], batch: int, score_threshold: float, attention: bool
    ) -> Generator[int, None, list[Look | Exception]]:
        """One answer per chip, in order: its look, or why there is none. Chips of one size share a batch."""
        answers: dict[int, Look | Exception] = {}
        sizes: dict[tuple[int, ...], list[int]] = {}
        for row, chip in enumerate(chips):
            sizes.setdefault(chip.pixels.shape, []).append(row)
        for rows in sizes.values():
            rest = rows
            while rest:
                size = min(batch, self.largest_batch)
                part, rest = rest[:size], rest[size:]
                found = yield from self._look_at([chips[row] for row in part], score_threshold, attention)
                answers.update(zip(part, found, strict=True))
        return [answers[row] for row in range(len(chips))]

    def _look_at(
        self, chips: Sequence[Chip], score_threshold: float, attention: bool
    ) -> Generator[int, None, list[Look | Exception]]:
        """Look at one batch; on any error look at its halves, down to the chip that causes it."""
        try:
            with memory_errors(chips):
                looks = list(self.eye.detect(chips, score_threshold=score_threshold, attention=attention))
        except Exception as error:  # noqa: BLE001 - whatever a chip provokes must cost that chip only
            why = _without_frames(error)
        else:
            yield len(chips)
            return list(looks)
        if len(chips) == 1:
            yield 1
            return [why]
        middle = len(chips) // 2
        if isinstance(why, MemoryError):
            self.largest_batch = min(self.largest_batch, middle)
            self.notes.append(f"batch halved to {middle} after an out-of-memory error: {one_sentence(why)}")
        elif not isinstance(why, PipelineError):
            self.notes.append(f"batch of {len(chips)} split after {type(why).__name__}: {one_sentence(why)}")
        first = yield from self._look_at(chips[:middle], score_threshold, attention)
        second = yield from self._look_at(chips[middle:], score_threshold, attention)
        return first + second


def _without_frames(error: Exception) -> Exception:
    """The error alone: the frames it came through hold the batch's tensors, and halves need their room."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _pixels(chips: Sequence[Chip]) -> int:
    return sum(chip.pixels.shape[0] * chip.pixels.shape[1] for chip in chips)


def _attention(views: Sequence[TileView]) -> tuple[tuple[Window, AttentionMap], ...]:
    """The attention of every tile that has some."""
    return tuple((view.tile.window, view.look.attention) for view in views if view.look.attention is not None)


def _difference(views: Sequence[TileView]) -> tuple[tuple[Window, DifferenceMap], ...]:
    """The difference map of every tile that has one."""
    return tuple((view.tile.window, view.look.difference) for view in views if view.look.difference is not None)


def _empty_exports(order: WorkOrder, views: Sequence[TileView]) -> list[str]:
    """What is to be said of each map that is to be exported and that the detector cannot give."""
    asked = (("attention", order.export_attention, _attention), ("difference", order.export_difference, _difference))
    return [EMPTY_EXPORT.format(name=name) for name, wanted, maps in asked if wanted and views and not maps(views)]


def look_to_lattice(detections: Detections, tile: Tile, order: WorkOrder, pixels: BlockPixels) -> Detections:
    """Shrunk chip → lattice frame; flags boxes near inner edges, drops boxes whose centre is no valid pixel.

    Near is within EDGE_MARGIN_PX as the network saw it.
    """
    boxes = chip_to_lattice(scaled(detections.boxes, order.global_factor), tile.window)
    edge = near_inner_edge(boxes, tile.window, order.lattice.window, EDGE_MARGIN_PX * order.global_factor)
    index = np.full(len(boxes), tile.index, np.int64)
    moved = replace(detections, boxes=boxes, frame=Frame.LATTICE, edge=edge, tile_index=index)
    return moved[pixels.valid_at(boxes[:, 0], boxes[:, 1])]
