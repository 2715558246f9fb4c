"""The pixels of one block, read once."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pipeline.pixels.decoding import decode_window
from pipeline.pixels.resampling import source_window
from pipeline.planning.plan import WorkOrder
from pipeline.raster.reader import SceneReader
from pipeline.types import Block, BoolArray, ByteArray, Chip, FloatArray, Window


@dataclass(frozen=True, slots=True, eq=False)
class BlockPixels:
    """The pixels of one block, read once; overlapping chips are views into it."""

    window: Window
    pixels: ByteArray
    """(H, W, C) uint8 lattice pixels."""
    valid: BoolArray
    """(H, W)"""
    read_s: float
    bytes_read: int = 0
    """Of pixels that the file was decoded to, judged by its layout."""
    notes: tuple[str, ...] = ()
    """What the run record must mention of the reading."""

    def chip(self, window: Window) -> tuple[ByteArray, BoolArray]:
        """Views of the pixels and validity of a lattice window inside the block."""
        rows = slice(window.y - self.window.y, window.y1 - self.window.y)
        columns = slice(window.x - self.window.x, window.x1 - self.window.x)
        return self.pixels[rows, columns], self.valid[rows, columns]

    def visible(self, window: Window) -> bool:
        """Whether a lattice window inside the block holds a valid pixel."""
        return bool(self.chip(window)[1].any())

    def as_chip(self, window: Window) -> Chip:
        """The pixels of a lattice window inside the block, for a detector."""
        return Chip(pixels=self.chip(window)[0], window=window)

    def valid_at(self, x: FloatArray, y: FloatArray) -> BoolArray:
        """(N,) whether lattice points lie on valid pixels; points outside the block count as on its rim."""
        column = np.clip(np.floor(x).astype(np.int64) - self.window.x, 0, self.window.width - 1)
        row = np.clip(np.floor(y).astype(np.int64) - self.window.y, 0, self.window.height - 1)
        valid: BoolArray = self.valid[row, column]
        return valid


def read_block(order: WorkOrder, block: Block) -> BlockPixels:
    """Read a block's window. Raises SceneError when the file is damaged there, StorageError when out of reach."""
    started = time.perf_counter()
    with SceneReader(order.scene, order.lattice, order.stretch, order.raster) as reader:
        pixels, valid = reader.read(block.window)
        notes = reader.notes
    return BlockPixels(block.window, pixels, valid, time.perf_counter() - started, decoded_bytes(order, block), notes)


def decoded_bytes(order: WorkOrder, block: Block) -> int:
    """Bytes of pixels that the file is decoded to for ``block``: whole blocks of the file, in its own type."""
    scene = order.scene
    source = source_window(block.window, order.lattice, scene.width, scene.height)
    return decode_window(scene, source).pixels * len(scene.bands) * np.dtype(scene.dtype).itemsize
