"""Where the second look went, on the preview: every crop framed, its attention entropy as heat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.types import FloatArray

_COLD, _WARM = np.array([60.0, 150.0, 255.0]), np.array([255.0, 70.0, 60.0])
_UNKNOWN = (205, 214, 224)
_HEAT_ALPHA, _LINE_ALPHA = 58, 235


@dataclass(frozen=True, slots=True, eq=False)
class CropsShown:
    """M crops in the pixels of a picture."""

    corners_px: FloatArray
    """(M, 4, 2)"""
    entropy: FloatArray
    """(M,) 0 to 1; NaN where there was no attention map."""


def draw_crops(
    image: Image.Image, crops: CropsShown, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> Image.Image:
    """A copy of ``image`` with the crops on it.

    Blue is the least entropy among them and red the most, because windows of one scene differ by little; each frame
    carries its figure where there is room.
    """
    overlay = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(overlay)
    known = crops.entropy[np.isfinite(crops.entropy)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    for corners, entropy in zip(crops.corners_px, crops.entropy, strict=True):
        colour = heat(float(entropy), low, high)
        ring = [tuple(point) for point in corners]
        fill = (*colour, _HEAT_ALPHA) if np.isfinite(entropy) else None
        draw.polygon(ring, fill=fill)
        draw.line([*ring, ring[0]], fill=(*colour, _LINE_ALPHA), width=1)
        (x, y), (x1, _) = corners.min(axis=0), corners.max(axis=0)
        if np.isfinite(entropy) and x1 - x > 40:
            draw.text((x + 3, y + 1), f"{entropy:.2f}", font=font, fill=(*colour, 255))
    return Image.alpha_composite(image.convert("RGBA"), overlay).convert("RGB")


def heat(entropy: float, low: float, high: float) -> tuple[int, int, int]:
    """Blue at ``low``, red at ``high``, grey for NaN."""
    if not np.isfinite(entropy):
        return _UNKNOWN
    share = (entropy - low) / (high - low) if high > low else 0.5
    red, green, blue = np.rint(_COLD + (_WARM - _COLD) * share).astype(int).tolist()
    return red, green, blue
