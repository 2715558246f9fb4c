"""Pixels as the bytes of a picture file, for pages that hold their own pictures."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from pipeline.types import ByteArray

QUALITY = 85


def as_jpeg(pixels: ByteArray) -> bytes:
    """(H, W, 3) uint8 as a JPEG file; colours are kept at full resolution, for objects of a few pixels."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
