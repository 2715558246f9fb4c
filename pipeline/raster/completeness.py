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

PIECE_BYTES = 1 << 20


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
