"""One picture of a scene with its detections: for a person who wants to see at a glance whether it worked.

Score is colour; size on the ground is a scale bar; the best detections are shown
enlarged at the side, numbered like in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.pictures.colours import Colour, score_colour
from pipeline.pictures.crops import CropsShown, draw_crops
from pipeline.pictures.frame import INSET_MAX_PX, INSET_MIN_PX, Fonts, PictureFrame
from pipeline.types import ByteArray, FloatArray, IntArray

_BACKGROUND, _PANEL, _TEXT, _FAINT = (16, 20, 26), (28, 34, 42), (236, 240, 244), (150, 160, 172)
_HALO = (8, 10, 14, 190)
_SMOOTH = 2
"""Lines are drawn this many times larger and averaged down."""
_TINY_PX = 12.0
_RING_LIMIT = 600
_INSETS = 6


@dataclass(frozen=True, slots=True, eq=False)
class BoxesShown:
    """N detections in the pixels of a picture."""

    corners_px: FloatArray
    """(N, 4, 2)"""
    scores: FloatArray
    """(N,) 0 to 1."""


def draw_preview(
    pixels: ByteArray,
    boxes: BoxesShown,
    *,
    title: str,
    metres_per_px: float | None,
    path: Path,
    score_threshold: float | None = None,
    crops: CropsShown | None = None,
) -> None:
    """Write a PNG of a thumbnail with the detections on it, and where the second look went.

    ``pixels`` (h, w, 3) uint8, and the boxes and crops in its pixels. ``metres_per_px`` is the thumbnail's,
    None for a pixel scene (no scale bar). The colour bar starts at ``score_threshold``, by default at the lowest score,
    rounded down. Objects too small to see get a ring, and above 600 of them a dot.
    Raises OSError when the disk does.
    """
    height, width = pixels.shape[:2]
    corners_px, scores = boxes.corners_px, boxes.scores
    low = _lowest(scores) if score_threshold is None else min(score_threshold, 0.99)
    font = Fonts.for_width(width)
    shown = _distinct_best(corners_px, scores, _inset_count(height))
    picture = _Picture(Image.fromarray(pixels), corners_px, scores, low)
    frame = PictureFrame.around(width, height, font, insets=len(shown))
    canvas = Image.new("RGB", frame.size, _BACKGROUND)
    ground = picture.image if crops is None else draw_crops(picture.image, crops, font.small)
    canvas.paste(_with_detections(picture, ground, shown, font), frame.image_at)
    for place, row in enumerate(shown):
        canvas.paste(_inset(picture, row, place + 1, frame.inset_px, font), frame.inset_at(place))
    _write_header(canvas, frame, font, title, len(scores), 0 if crops is None else len(crops.corners_px))
    _write_footer(canvas, frame, font, low, metres_per_px)
    canvas.save(path, "PNG", optimize=False, compress_level=6)


@dataclass(frozen=True, slots=True)
class _Picture:
    image: Image.Image
    corners: FloatArray
    scores: FloatArray
    low: float

    def colour(self, row: int) -> Colour:
        return score_colour(float(self.scores[row]), self.low)


def _lowest(scores: FloatArray) -> float:
    return math.floor(float(scores.min()) * 10) / 10 if len(scores) and scores.min() < 0.95 else 0.0


def _inset_count(height: int) -> int:
    return max(1, min(_INSETS, (height + 8) // (INSET_MIN_PX + 8)))


def _lengths(corners: FloatArray) -> FloatArray:
    """(N,) longer sides, thumbnail pixels."""
    sides = np.hypot(*np.moveaxis(corners - np.roll(corners, 1, axis=1), -1, 0))
    longest: FloatArray = sides.max(axis=1, initial=0.0)
    return longest


def _distinct_best(corners: FloatArray, scores: FloatArray, count: int) -> list[int]:
    """Up to ``count`` rows of the highest scores, none of which would show in another's inset."""
    chosen: list[int] = []
    centres, lengths = corners.mean(axis=1), _lengths(corners)
    for row in np.lexsort((centres[:, 0], centres[:, 1], -scores))[:2000].tolist():
        apart = np.abs(centres[chosen] - centres[row]).max(axis=1, initial=0.0)
        if not chosen or (apart > _inset_side(lengths[row]) / 2).all():
            chosen.append(row)
        if len(chosen) == count:
            break
    return chosen


def _inset_side(length: float) -> float:
    """Side of the window an inset shows, thumbnail pixels."""
    return max(24.0, 3.2 * length)


def _with_detections(picture: _Picture, image: Image.Image, numbered: Sequence[int], font: Fonts) -> Image.Image:
    """``image`` with every detection drawn, lowest score first."""
    overlay = Image.new("RGBA", (image.width * _SMOOTH, image.height * _SMOOTH))
    draw = ImageDraw.Draw(overlay)
    lengths = _lengths(picture.corners)
    tiny = len(lengths) > 0 and float(np.median(lengths)) < _TINY_PX
    line = 1.0 if len(lengths) > 5000 or tiny else 1.6
    for row in _lowest_first(picture.scores).tolist():
        if tiny and len(lengths) > _RING_LIMIT:
            _dot(draw, picture.corners[row], picture.colour(row))
            continue
        _outline(draw, picture.corners[row] * _SMOOTH, picture.colour(row), line * _SMOOTH)
        if tiny:
            _ring(draw, picture.corners[row], lengths[row], picture.colour(row))
    marked = Image.alpha_composite(image.convert("RGBA"), overlay.reduce(_SMOOTH))
    labels = ImageDraw.Draw(marked)
    for place, row in enumerate(numbered):
        _tag(labels, picture.corners[row], lengths[row], str(place + 1), font)
    return marked.convert("RGB")


def _lowest_first(scores: FloatArray) -> IntArray:
    return np.argsort(scores, kind="stable").astype(np.int64)


def _outline(draw: ImageDraw.ImageDraw, corners: FloatArray, colour: Colour, width: float) -> None:
    """A closed ring in ``colour`` on a dark halo that sets it off from bright ground."""
    ring = [tuple(point) for point in (*corners, corners[0], corners[1])]
    draw.line(ring, fill=_HALO, width=round(width * 2.2), joint="curve")
    draw.line(ring, fill=(*colour, 255), width=max(1, round(width)), joint="curve")


def _ring(draw: ImageDraw.ImageDraw, corners: FloatArray, length: float, colour: Colour) -> None:
    (x, y), radius = corners.mean(axis=0) * _SMOOTH, (length / 2 + 6) * _SMOOTH
    for colour_with_alpha, width in ((_HALO, 3 * _SMOOTH), ((*colour, 255), round(1.5 * _SMOOTH))):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour_with_alpha, width=width)


def _dot(draw: ImageDraw.ImageDraw, corners: FloatArray, colour: Colour) -> None:
    x, y = corners.mean(axis=0) * _SMOOTH
    for fill, radius in ((_HALO, 2.4 * _SMOOTH), ((*colour, 255), 1.5 * _SMOOTH)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _tag(draw: ImageDraw.ImageDraw, corners: FloatArray, length: float, text: str, font: Fonts) -> None:
    """A number beside a detection, the same as in its inset."""
    x, y = corners.mean(axis=0) + np.array([1, -1]) * (length / 2 + 8)
    draw.text((x, y), text, font=font.small, fill=_TEXT, anchor="mm", stroke_width=3, stroke_fill=_BACKGROUND)


def _inset(picture: _Picture, row: int, number: int, side_px: int, font: Fonts) -> Image.Image:
    """One detection enlarged, with its number and score."""
    corners = picture.corners[row]
    side = _inset_side(float(_lengths(corners[None])[0]))
    origin = corners.mean(axis=0) - side / 2
    window = (origin[0], origin[1], origin[0] + side, origin[1] + side)
    zoom = side_px / side
    crop = picture.image.transform(
        (side_px, side_px), Image.Transform.EXTENT, window, Image.Resampling.BICUBIC, fillcolor=_PANEL
    )
    overlay = Image.new("RGBA", (side_px * _SMOOTH, side_px * _SMOOTH))
    grown = (corners - origin) * zoom * _SMOOTH
    _outline(ImageDraw.Draw(overlay), grown, picture.colour(row), 2.0 * _SMOOTH)
    inset = Image.alpha_composite(crop.convert("RGBA"), overlay.reduce(_SMOOTH)).convert("RGB")
    draw = ImageDraw.Draw(inset)
    text = f"{number}   {picture.scores[row]:.2f}"
    margin = font.px // 2
    box = draw.textbbox((margin, margin), text, font=font.small)
    draw.rounded_rectangle((box[0] - 6, box[1] - 5, box[2] + 6, box[3] + 5), radius=5, fill=_BACKGROUND)
    draw.text((margin, margin), text, font=font.small, fill=_TEXT)
    draw.rectangle((0, 0, side_px - 1, side_px - 1), outline=picture.colour(row), width=2)
    return inset


def _write_header(canvas: Image.Image, frame: PictureFrame, font: Fonts, title: str, count: int, crops: int) -> None:
    draw = ImageDraw.Draw(canvas)
    middle, found = frame.header / 2, f"{count:,} detection{'' if count == 1 else 's'}"
    if crops:
        found += f", {crops:,} crop{'' if crops == 1 else 's'} looked at again (with their entropy)"
    right = canvas.width - frame.pad
    draw.text((right, middle), found, font=font.small, fill=_FAINT, anchor="rm")
    room = right - draw.textlength(found, font=font.small) - 2 * frame.pad
    while draw.textlength(title, font=font.large) > room and len(title) > 4:
        title = title[:-2].rstrip("…") + "…"
    draw.text((frame.pad, middle), title, font=font.large, fill=_TEXT, anchor="lm")


def _write_footer(
    canvas: Image.Image, frame: PictureFrame, font: Fonts, low: float, metres_per_px: float | None
) -> None:
    draw = ImageDraw.Draw(canvas)
    top = canvas.height - frame.footer + frame.pad
    if metres_per_px is not None:
        metres = _round_metres(metres_per_px * min(frame.width, 4 * INSET_MAX_PX) / 4)
        left, right = frame.image_at[0], frame.image_at[0] + round(metres / metres_per_px)
        draw.rectangle((left, top + font.px // 3, right, top + font.px // 3 + max(3, font.px // 4)), fill=_TEXT)
        label = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
        draw.text((left, top + font.px), label, font=font.small, fill=_TEXT)
    length = min(14 * font.px, canvas.width // 3)
    left = canvas.width - frame.pad - length
    for step in range(length):
        colour = score_colour(low + (1 - low) * step / (length - 1), low)
        draw.line((left + step, top, left + step, top + font.px * 2 // 3), fill=colour)
    draw.text((left, top + font.px), f"{low:.2g}", font=font.small, fill=_FAINT)
    draw.text((left + length / 2, top + font.px), "score", font=font.small, fill=_TEXT, anchor="ma")
    draw.text((left + length, top + font.px), "1", font=font.small, fill=_FAINT, anchor="ra")


def _round_metres(limit: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is at most ``limit``."""
    power = 10.0 ** math.floor(math.log10(limit))
    return max(step * power for step in (1, 2, 5) if step * power <= limit * (1 + 1e-9))
