"""TIFFs that GDAL does not write."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import rasterio

from pipeline.raster.tiff import FILL_ORDER

REVERSED = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)


def reverse_bits(path: Path) -> None:
    """Rewrite a TIFF of one band with FillOrder 2: the tag of PlanarConfiguration makes room for it."""
    data = bytearray(path.read_bytes())
    with rasterio.open(path) as file:
        height, width = file.block_shapes[0]
        across, down = -(-file.width // width), -(-file.height // height)
        blocks = [
            tuple(int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
            for row in range(down)
            for column in range(across)
        ]
    for offset, size in blocks:
        data[offset : offset + size] = REVERSED[np.frombuffer(data[offset : offset + size], np.uint8)].tobytes()
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = [bytes(data[start + 2 + 12 * i : start + 14 + 12 * i]) for i in range(count)]
    entries = [one for one in entries if struct.unpack_from("<H", one)[0] != 284]
    entries.append(struct.pack("<HHIHH", FILL_ORDER, 3, 1, 2, 0))
    entries.sort(key=lambda one: struct.unpack_from("<H", one)[0])
    data[start + 2 : start + 2 + 12 * count] = b"".join(entries)
    path.write_bytes(data)
