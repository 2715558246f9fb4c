"""What detections are drawn on: a scene's pixels so that a person sees something, and the area of interest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pipeline.types import BoolArray, ByteArray, FloatArray

DARK = 48
"""A picture whose brightest value is below this is black to a person: classes 0 to 9, a mask of 0 and 1."""
_DIMMED, _LINE = 0.38, (120, 220, 255)

Rings = Sequence[FloatArray]
"""One polygon: its outer ring, then its holes, (N, 2) pixels of the picture each."""


def visible(pixels: ByteArray, valid: BoolArray) -> ByteArray:
    """(h, w, 3) ``pixels``, stretched from the darkest to the brightest ``valid`` one where all are dark."""
    shown = pixels[valid]
    if not shown.size or not shown.min() < shown.max() < DARK:
        return pixels
    low, high = int(shown.min()), int(shown.max())
    table = np.clip((np.arange(256) - low) * 255.0 / (high - low), 0, 255).astype(np.uint8)
    stretched: ByteArray = np.where(valid[..., None], table[pixels], pixels)
    return stretched


def shrunk(pixels: ByteArray, side_px: int) -> ByteArray:
    """(h, w, 3) ``pixels`` with a longer side of at most ``side_px``: means of what falls together."""
    height, width = pixels.shape[:2]
    share = side_px / max(height, width)
    if share >= 1:
        return pixels
    size = max(1, round(width * share)), max(1, round(height * share))
    small: ByteArray = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    return small


def enlarged(pixels: ByteArray, side_px: int) -> ByteArray:
    """(h, w, 3) ``pixels``, each as a square of as many as leave the longer side within ``side_px``."""
    times = max(1, side_px // max(pixels.shape[:2]))
    large: ByteArray = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return large


def with_area(pixels: ByteArray, area: Sequence[Rings]) -> ByteArray:
    """(h, w, 3) ``pixels``, darker outside the polygons of ``area``, and their edges drawn."""
    height, width = pixels.shape[:2]
    inside = Image.new("L", (width, height), 0)
    for rings in area:
        mask = Image.new("L", (width, height), 0)
        draw = ImageDraw.Draw(mask)
        for value, ring in zip((1, *[0] * (len(rings) - 1)), rings, strict=True):
            draw.polygon(_points(ring), fill=value)
        inside.paste(1, mask=mask.point(lambda value: 255 * value))
    outside = np.asarray(inside) == 0
    dimmed = pixels.copy()
    dimmed[outside] = np.rint(pixels[outside] * _DIMMED).astype(np.uint8)
    image = Image.fromarray(dimmed)
    draw = ImageDraw.Draw(image)
    for ring in (ring for rings in area for ring in rings):
        draw.line(_points(ring), fill=_LINE, width=max(1, round(max(width, height) / 700)))
    drawn: ByteArray = np.asarray(image).copy()
    return drawn


def _points(ring: FloatArray) -> list[tuple[float, float]]:
    """Far beyond the picture a line may overflow the drawing; it never shows there."""
    return [(x, y) for x, y in np.clip(ring, -1e6, 1e6).tolist()]
