"""Whether a local file is there as a whole, as far as that can be told without decoding it.

GDAL takes a PNG or a JPEG that was filled up with zeros, as an interrupted download is, for pictures of something.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import SceneUnreadable
from pipeline.names import shown
from pipeline.raster.tiff import COMPRESSION, directories

PIECE_BYTES = 1 << 20
DENSEST = {"PNG": 8 * 1032, "JPEG": 1024, "JP2OpenJPEG": 20_000}
"""Most pixels that a byte of such a file may hold: DEFLATE makes 1,032 bytes of one, a pixel has a bit at least; JPEG
spends a bit on a block of 64 pixels, at three quarters of them less; JPEG 2000 knows no such bound, and a byte of
what shows something holds a few hundred."""
DENSEST_TIFF = 3000
"""The same of the bytes that a block of a TIFF is decoded to, but for the compressions that know no bound."""
BOUNDED = frozenset({1, 5, 7, 8, 32773, 32946})
FREE_PX = 100_000_000
"""What may be promised by a few bytes: pixels, or bytes of one block of a TIFF."""


def check_complete(dataset: Any, path: Path, uri: str) -> None:
    """Raise SceneUnreadable when the open ``dataset``, which lies at ``path``, was cut off, padded or not."""
    if dataset.driver == "GTiff":
        _check_tiff(dataset, path, uri)
    elif dataset.driver in ("PNG", "JPEG"):
        with path.open("rb") as file:
            whole = _png_is_whole(file) if dataset.driver == "PNG" else _jpeg_has_an_end(file)
        if not whole:
            raise SceneUnreadable(
                f"{shown(uri)} ({path.stat().st_size} bytes) is truncated or damaged: a part of this {dataset.driver} "
                f"is missing or its checksum is wrong; copy or download it again"
            )


def check_promise(dataset: Any, path: Path, uri: str) -> None:
    """Raise SceneUnreadable when the open ``dataset`` promises more pixels than the file at ``path`` has bytes for.

    To decode such a file takes memory and time by the promise, and ends in an error.
    """
    size, pixels = path.stat().st_size, dataset.width * dataset.height
    least: float = pixels / DENSEST.get(dataset.driver, float("inf")) if pixels > FREE_PX else 0
    if dataset.driver == "GTiff":
        height, width = dataset.block_shapes[0]
        compressions = {page.get(COMPRESSION, (1,))[:1] for page in directories(path)}
        bounded = all(one and one[0] in BOUNDED for one in compressions)
        block_bytes = height * width * _item_bytes(dataset)
        least = block_bytes / DENSEST_TIFF if bounded and block_bytes > FREE_PX else 0
    if size < least:
        raise SceneUnreadable(
            f"{shown(uri)} promises {dataset.width} x {dataset.height} pixels, more than its {size} bytes can hold; "
            f"copy or download it again"
        )


def _item_bytes(dataset: Any) -> int:
    return int("".join(filter(str.isdigit, str(dataset.dtypes[0]))) or 8) // 8


def _check_tiff(dataset: Any, path: Path, uri: str) -> None:
    """Its first and last block must end inside the file."""
    height, width = dataset.block_shapes[0]
    last = f"{(dataset.width - 1) // width}_{(dataset.height - 1) // height}"
    size = path.stat().st_size
    for block in ("0_0", last):
        offset, length = (
            dataset.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", bidx=dataset.count) for what in ("OFFSET", "SIZE")
        )
        if offset and length and int(offset) + int(length) > size:
            raise SceneUnreadable(
                f"{shown(uri)} is truncated: it has {size} bytes and its pixels reach to byte "
                f"{int(offset) + int(length)}; copy or download it again"
            )


def _png_is_whole(file: BinaryIO) -> bool:
    """Whether pieces follow each other to the end, those of the picture with the checksums that they name."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            checksum = zlib.crc32(kind)
            while length:
                piece = file.read(min(length, PIECE_BYTES))
                if not piece:
                    return False
                checksum, length = zlib.crc32(piece, checksum), length - len(piece)
            if file.read(4) != struct.pack(">I", checksum):
                return False
        elif not kind.isalpha():
            return False
        else:
            file.seek(length + 4, 1)
        if kind == b"IEND":
            return True
    return False


def _jpeg_has_an_end(file: BinaryIO) -> bool:
    """Whether the marker of the end follows the first scan. Inside compressed data these two bytes do not occur."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[:1] == b"\xff" and head[1] != 0xDA:
        fill = head[1] == 0xFF  # of which there may be any number before a marker
        file.seek(-3 if fill else struct.unpack(">H", head[2:])[0] - 2, 1)
    before = b""
    while piece := file.read(PIECE_BYTES):
        if b"\xff\xd9" in before + piece:
            return True
        before = piece[-1:]
    return False
