"""Checksums of compressed blocks that GDAL passes over.

A block of a TIFF that is compressed by DEFLATE ends with the Adler-32 of what was compressed (RFC 1950). libtiff stops
before it, as soon as it has pixels enough: where a disk or a download left zeros in the middle of a block, it makes
other pixels of them, and says nothing. To decompress every block twice would cost half the speed of reading; so those
are looked at that hold zeros in a row, which compressed data do not but for large areas of one value.
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

from pipeline.raster.tiff import threads
from pipeline.types import Window

STEP_WORDS = 32
"""Every so many words of 8 bytes one is looked at: 264 zeros in a row are never missed."""
LONGEST = 4
"""A block is never this many times as long as it should be, but when it is damaged."""


def has_checksums(file: Any, path: Path) -> bool:
    """Whether the blocks of the open ``file``, which lies at ``path``, can be checked: DEFLATE in the usual order of
    bits."""
    return file.driver == "GTiff" and file.compression == Compression.deflate and threads(path) > 1


def damaged_block(file: Any, path: Path, bands: Iterable[int], window: Window) -> tuple[int, int] | None:
    """(column, row) of a block under ``window`` that holds zeros in a row and is not what was compressed; or None.

    Raises OSError where the file cannot be read.
    """
    height, width = file.block_shapes[0]
    unpacked = height * width * np.dtype(file.dtypes[0]).itemsize
    unpacked *= file.count if file.interleaving == Interleaving.pixel else 1
    handle = os.open(path, os.O_RDONLY)
    try:
        length = os.fstat(handle).st_size
        for column, row, offset, size in _stored(file, bands, window):
            if not 0 <= offset <= offset + size <= length:
                continue  # a number that is none: libtiff says so itself, and nobody reserves that much memory for it
            packed = os.pread(handle, size, offset)
            if _has_zeros(packed) and not _is_whole(packed, unpacked):
                return column, row
    finally:
        os.close(handle)
    return None


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


def _has_zeros(packed: bytes) -> bool:
    words = np.frombuffer(packed, np.uint64, len(packed) // 8)[::STEP_WORDS]
    return not words.all()


def _is_whole(packed: bytes, unpacked: int) -> bool:
    """Whether the data decompress to what their checksum says. Some writers leave out the end, and it with them."""
    stream = zlib.decompressobj()
    try:
        got = len(stream.decompress(packed, LONGEST * unpacked))
    except zlib.error:
        return False
    return stream.eof or got <= unpacked
