"""Where everything goes on a picture, and the letters on it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageFont

INSET_MIN_PX, INSET_MAX_PX = 120, 260
_MIN_WIDTH = 520


@dataclass(frozen=True, slots=True)
class Fonts:
    """Pillow's built-in typeface, at sizes that suit the picture."""

    small: ImageFont.FreeTypeFont | ImageFont.ImageFont
    large: ImageFont.FreeTypeFont | ImageFont.ImageFont
    px: int

    @classmethod
    def for_width(cls, width: int) -> Fonts:
        px = max(13, min(26, width // 75))
        return cls(ImageFont.load_default(px), ImageFont.load_default(round(px * 1.35)), px)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFrame:
    """Where everything goes, canvas pixels."""

    width: int
    height: int
    pad: int
    header: int
    footer: int
    inset_px: int
    insets: int
    left: int

    @classmethod
    def around(cls, width: int, height: int, font: Fonts, *, insets: int) -> PictureFrame:
        pad, gaps = font.px, (insets - 1) * (font.px // 2)
        inset_px = min(INSET_MAX_PX, max(INSET_MIN_PX, (height - gaps) // insets)) if insets else 0
        left = max(0, (_MIN_WIDTH - width - 2 * pad) // 2)
        return cls(
            width=width, height=height, pad=pad, header=font.px * 3, footer=font.px * 4, inset_px=inset_px,
            insets=insets, left=left,
        )  # fmt: skip

    @property
    def size(self) -> tuple[int, int]:
        side = self.inset_px + self.pad if self.insets else 0
        body = max(self.height, self.insets * self.inset_px + (self.insets - 1) * (self.pad // 2))
        return 2 * (self.pad + self.left) + self.width + side, self.header + body + self.footer

    @property
    def image_at(self) -> tuple[int, int]:
        return self.pad + self.left, self.header

    def inset_at(self, place: int) -> tuple[int, int]:
        return 2 * self.pad + self.left + self.width, self.header + place * (self.inset_px + self.pad // 2)
