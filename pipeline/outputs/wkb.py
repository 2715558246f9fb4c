"""Polygons of four corners ↔ well-known binary, without a Python loop (OGC 06-103r4, 8.2)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.types import FloatArray


def polygon_corners(table: pa.Table) -> FloatArray:
    """(N, 4, 2) float64 world corners, counter-clockwise, read back from the ``geometry`` column."""
    parts = [np.zeros((0, 4, 2))]
    for chunk in table.column("geometry").chunks:
        if len(chunk):
            _, offsets, data = chunk.buffers()
            first = np.frombuffer(offsets, np.int32, count=1, offset=4 * chunk.offset)[0]
            raw = np.frombuffer(data, np.uint8, count=len(chunk) * _WKB.itemsize, offset=first)
            parts.append(raw.view(_WKB)["ring"][:, :4])
    return np.concatenate(parts)


# A little-endian WKB polygon of one closed ring of five points: 93 bytes (OGC 06-103r4, 8.2).
_WKB = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("ring", "<f8", (5, 2))])
WKB_BYTES = _WKB.itemsize
"""Of a polygon of four corners."""


def wkb_polygons(corners: FloatArray) -> pa.Array:
    """(N, 4, 2) → N WKB polygons, without a Python loop."""
    records = np.zeros(len(corners), _WKB)
    records["order"], records["type"], records["rings"], records["points"] = 1, 3, 1, 5
    records["ring"][:, :4] = corners
    records["ring"][:, 4] = corners[:, 0]
    return fixed_width(records.view(np.uint8), len(corners), _WKB.itemsize, pa.binary())


def fixed_width(data: NDArray[np.uint8], n: int, width: int, kind: pa.DataType) -> pa.Array:
    """N values of ``width`` bytes each, laid end to end in ``data``, as a binary or string array without copying."""
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(kind, n, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
