"""Blocks that are compressed by DEFLATE and that libtiff would read wrong, and say nothing.

Such a block of a TIFF ends with the Adler-32 of what was compressed (RFC 1950). libtiff stops before it, as soon as it
has pixels enough: where a disk or a download left zeros in the middle of a block, it makes other pixels of them. To
decompress every block twice would cost half the speed of reading; so those are looked at that hold zeros in a row,
which compressed data do not but for large areas of one value.

And where a block holds more than its place takes, the last pixels of it may be what was in memory before: libdeflate
writes nothing of a repetition that does not fit. A damaged header does that to all blocks of a file, so the first is
measured; a writer that fills up the last strip does it to that one, so the last strip is measured too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import Compression, Interleaving

from pipeline.raster.tiff import FILL_ORDER, HEIGHT, TILE_WIDTH, WIDTH, directories
from pipeline.types import Window

STEP_WORDS = 32
"""Every so many words of 8 bytes one is looked at: 264 zeros in a row are never missed."""
PIECE = 2**20
"""So many bytes of a block are in memory at once."""


class DamagedBlock(OSError):
    """A block that would be read wrong; says which, and what is wrong with it."""


class Checksums:
    """Of the blocks of the file at ``path``, which are tiles or strips."""

    def __init__(self, path: Path, *, tiled: bool) -> None:
        self._path, self._tiled = path, tiled
        self._measured = False

    def check(self, file: Any, bands: Iterable[int], window: Window) -> None:
        """Raises DamagedBlock for a block of the open ``file`` under ``window``, OSError where it cannot be read."""
        height, line = file.block_shapes[0][0], _line_bytes(file)
        handle = os.open(self._path, os.O_RDONLY)
        try:
            length = os.fstat(handle).st_size
            for column, row, offset, size in _stored(file, bands, window):
                if not 0 <= offset <= offset + size <= length:
                    continue  # a number that is none: libtiff says so itself, and nobody reserves that much memory
                lines = height if self._tiled else min(height, file.height - row * height)
                last_strip = not self._tiled and (row + 1) * height >= file.height
                packed = os.pread(handle, size, offset)
                measure = last_strip or not self._measured
                self._measured = True
                if (measure or _has_zeros(packed)) and (wrong := _wrong(packed, lines * line)):
                    raise DamagedBlock(f"block ({column}, {row}) {wrong}")
        finally:
            os.close(handle)


def checksums_of(file: Any, path: Path) -> Checksums | None:
    """For the open ``file`` at ``path``; None where its blocks have none, or hold bits in another order."""
    if file.driver != "GTiff" or file.compression != Compression.deflate:
        return None
    pages = directories(path)
    if not all(page.get(FILL_ORDER, (1,)) == (1,) for page in pages):
        return None
    # By the page that is open: a label or a thumbnail behind it may well be in strips.
    own = [page for page in pages if (page.get(WIDTH), page.get(HEIGHT)) == ((file.width,), (file.height,))]
    return Checksums(path, tiled=all(TILE_WIDTH in page for page in own[:1]))


def _stored(file: Any, bands: Iterable[int], window: Window) -> Iterator[tuple[int, int, int, int]]:
    """Column, row, offset and size of the blocks under ``window``, but for those that a sparse file leaves out."""
    height, width = file.block_shapes[0]
    columns = range(window.x // width, -(-window.x1 // width))
    rows = range(window.y // height, -(-window.y1 // height))
    several = [1] if file.interleaving == Interleaving.pixel else sorted(set(bands))
    for row, column, band in product(rows, columns, several):
        offset, size = (
            file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")
        )
        if offset and size:
            yield column, row, int(offset), int(size)


def _line_bytes(file: Any) -> int:
    """Bytes of one line of a block."""
    bits = int(file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * np.dtype(file.dtypes[0]).itemsize))
    samples = file.count if file.interleaving == Interleaving.pixel else 1
    return int(-(-file.block_shapes[0][1] * bits * samples // 8))


def _has_zeros(packed: bytes) -> bool:
    words = np.frombuffer(packed, np.uint64, len(packed) // 8)[::STEP_WORDS]
    return not words.all()


def _wrong(packed: bytes, unpacked: int) -> str | None:
    """What is wrong with the data of a block. Some writers leave out the end, and the checksum with it."""
    stream, got = zlib.decompressobj(), 0
    try:
        piece = b""
        while not stream.eof and got <= unpacked and (packed or len(piece) == PIECE):
            piece = stream.decompress(packed, PIECE)
            packed = stream.unconsumed_tail
            got += len(piece)
    except zlib.error:
        return "does not agree with its checksum"
    return (
        "holds more than it has room for (its writer fills up strips, or the header is damaged)"
        if got > unpacked
        else None
    )
