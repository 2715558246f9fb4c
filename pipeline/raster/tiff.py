"""What stands in the directories of a local TIFF, and what GDAL does not tell of them.

Nothing is decoded; values of a tag beyond MOST_VALUES are left out.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

Directory = dict[int, tuple[int, ...]]
"""The tags of one directory (a page, an overview, a mask) → their values, of SHORT and LONG tags with few."""

WIDTH, HEIGHT, COMPRESSION, FILL_ORDER, BITS, SAMPLES, TILE_WIDTH = 256, 257, 259, 266, 258, 277, 322
KINDS = {3: "H", 4: "I"}
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_DIRECTORIES, MOST_TAGS, MOST_VALUES = 64, 4096, 1024

CODECS = {
    2: "CCITT RLE", 3: "CCITT Group 3", 4: "CCITT Group 4", 5: "LZW", 6: "old-style JPEG", 7: "JPEG", 8: "DEFLATE",
    9: "JBIG", 10: "JBIG", 32766: "NeXT", 32773: "PackBits", 32809: "ThunderScan", 32908: "PixarFilm",
    32909: "PixarLog", 32946: "DEFLATE", 33003: "JPEG 2000", 33005: "JPEG 2000", 33007: "JPEG", 34661: "JBIG",
    34676: "SGI LogLuv", 34677: "SGI LogLuv", 34712: "JPEG 2000", 34713: "Nikon NEF", 34715: "JBIG2", 34887: "LERC",
    34892: "lossy JPEG", 34925: "LZMA", 34926: "ZSTD", 34927: "WebP", 34933: "PNG", 34934: "JPEG XR", 50000: "ZSTD",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
"""Compressions by the number that stands in the file; builds of GDAL lack some."""

THREADED = frozenset({1, 5, 8, 32946, 7, 32773, 34887, 34925, 50000, 50001})
"""Compressions that GDAL decodes in threads as it does without: none, LZW, DEFLATE twice, JPEG, PackBits, LERC, LZMA,
ZSTD, WebP."""


def directories(path: Path) -> list[Directory]:
    """The directories of the TIFF at ``path``, in order; empty for any other file, cut short where the file is."""
    found: list[Directory] = []
    with path.open("rb") as file:
        if file.read(4) in MAGIC:
            with contextlib.suppress(struct.error):
                found.extend(_chain(file))
    return found


def _chain(file: BinaryIO) -> Iterator[Directory]:
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    big = struct.unpack(order + "H", file.read(2))[0] == 43
    count, offset, entry = ("Q", "Q", "HHQ8s") if big else ("H", "I", "HHI4s")

    def number(kind: str) -> int:
        return int(struct.unpack(order + kind, file.read(struct.calcsize(order + kind)))[0])

    file.seek(8 if big else 4)
    at, seen = number(offset), set[int]()
    while at and at not in seen and len(seen) < MOST_DIRECTORIES:
        seen.add(at)
        file.seek(at)
        tags: Directory = {}
        entries = [
            struct.unpack(order + entry, file.read(struct.calcsize(order + entry)))
            for _ in range(min(number(count), MOST_TAGS))
        ]
        end = file.tell()
        for tag, kind, values, raw in entries:
            form = f"{order}{min(values, MOST_VALUES)}{KINDS.get(kind, 's')}"
            if kind in KINDS and values <= MOST_VALUES and struct.calcsize(form) > len(raw):
                file.seek(struct.unpack(order + offset, raw)[0])
                raw = file.read(struct.calcsize(form))
            known = kind in KINDS and values <= MOST_VALUES and len(raw) >= struct.calcsize(form)
            tags[tag] = struct.unpack_from(form, raw) if known else ()
        file.seek(end)
        yield tags
        at = number(offset)


def threads(path: Path) -> int:
    """In how many threads GDAL may decode the local file at ``path``: two where its threads read what it says.

    They take a missing SamplesPerPixel for none, and bits in the order of FillOrder 2 for the usual one.
    """
    try:
        pages = directories(path)
    except OSError:
        return 1
    return 2 if 0 < len(pages) < MOST_DIRECTORIES and all(map(_plain, pages)) else 1


def _plain(page: Directory) -> bool:
    usual = page.get(FILL_ORDER, (1,)) == (1,) and len(page.get(SAMPLES, ())) == 1
    whole = bool(page.get(BITS)) and all(bits in (8, 16, 32, 64) for bits in page[BITS])
    mask = page.get(BITS) == (1,) and (page.get(COMPRESSION) or (0,))[0] in (
        1,
        8,
        32946,
    )  # of validity, as GDAL writes it
    return usual and (whole or mask) and (page.get(COMPRESSION) or (0,))[0] in THREADED
