"""A picture of examples of what was prepared: whether boxes lie on objects is seen in a second, or never."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.geometry.obb import obb_to_corners
from pipeline.names import brief
from pipeline.pictures.colours import Colour, class_colour
from pipeline.pictures.frame import Fonts
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.data.tally import Shown
from pipeline.types import ByteArray, FloatArray

COLUMNS, MOST = 6, 30
CELL_PX, CAPTION_PX, GAP_PX = 220, 18, 6
AROUND, LEAST_PX, MOST_PX = 6.0, 48.0, 512.0
"""A cell shows so many lengths of its object, within these limits, prepared pixels."""
REGION: Colour = (150, 150, 150)
PAPER: Colour = (24, 26, 30)
INK: Colour = (220, 222, 226)

Example = tuple[str, int]
"""Name of a scene, number of one of its objects."""


def examples(shown: Sequence[Shown], classes: int, most: int = MOST) -> list[Example]:
    """Objects to be shown: the classes in turn, and of each evenly over all scenes; none twice."""
    rows = [(one.name, at, int(number)) for one in shown for at, number in enumerate(one.class_ids)]
    each = [[(name, at) for name, at, number in rows if number == wanted] for wanted in range(classes)]
    share = -(-most // max(1, sum(bool(one) for one in each)))
    spread = [[one[i] for i in np.unique(np.linspace(0, len(one) - 1, share).astype(int))] for one in each if one]
    in_turn = [one[turn] for turn in range(share) for one in spread if turn < len(one)]
    return in_turn[:most]


def contact_sheet(
    path: Path, shown: Sequence[Shown], classes: Sequence[str], scene_of: Callable[[str], TrainingScene]
) -> bool:
    """Write a PNG of :func:`examples` with all boxes around each drawn: classes in their colours, ignore regions grey.

    ``scene_of`` reads a scene by its name. Returns False, and writes nothing, where there is no object.
    """
    chosen = sorted(examples(shown, len(classes)))
    if not chosen:
        return False
    boxes = {one.name: one.boxes for one in shown}
    across = min(COLUMNS, len(chosen))
    down = -(-len(chosen) // across)
    step = (CELL_PX + GAP_PX, CELL_PX + CAPTION_PX + GAP_PX)
    header = CAPTION_PX + 2 * GAP_PX
    sheet = Image.new("RGB", (across * step[0] + GAP_PX, header + down * step[1]), PAPER)
    draw, font = ImageDraw.Draw(sheet), Fonts.for_width(1).small
    _legend(draw, classes, font)
    scene = None
    for place, (name, number) in enumerate(chosen):
        if scene is None or scene.name != name:
            scene = scene_of(name)
        row, column = divmod(place, across)
        corner = (GAP_PX + column * step[0], header + row * step[1])
        box = boxes[name][number]
        sheet.paste(_cell(scene, box), corner)
        said = f"{name[:18]}  {box[2]:.0f} x {box[3]:.0f} px"
        draw.text((corner[0], corner[1] + CELL_PX + 1), brief(said), fill=INK, font=font)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    sheet.save(partial, "PNG")
    partial.replace(path)
    return True


def _legend(draw: ImageDraw.ImageDraw, classes: Sequence[str], font: object) -> None:
    x = float(GAP_PX)
    for text, colour in (*((name, class_colour(at)) for at, name in enumerate(classes)), ("ignored", REGION)):
        draw.text((x, GAP_PX), brief(text), fill=colour, font=font)  # type: ignore[arg-type]
        x += draw.textlength(brief(text), font=font) + 3 * GAP_PX  # type: ignore[arg-type]


def _cell(scene: TrainingScene, box: FloatArray) -> Image.Image:
    """What is around an object, with all boxes there."""
    side = float(np.clip(AROUND * box[2], LEAST_PX, MOST_PX))
    low = np.floor(box[:2] - side / 2).astype(int)
    image = Image.fromarray(_colours(scene.pixels))
    reach = round(side)
    scale = CELL_PX / reach
    cell = image.crop((*low.tolist(), *(low + reach).tolist())).resize((CELL_PX, CELL_PX), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(cell)
    truth = scene.truth
    corners = (obb_to_corners(truth.boxes) - low) * scale
    near = ((corners.max(axis=1) > 0) & (corners.min(axis=1) < CELL_PX)).all(axis=1)
    for at in np.flatnonzero(near):
        colour = REGION if truth.ignore[at] else class_colour(int(truth.class_ids[at]))
        ring = [(float(x), float(y)) for x, y in corners[at]]
        draw.line([*ring, ring[0]], fill=colour, width=1)
    return cell


def _colours(pixels: ByteArray) -> ByteArray:
    """Three bands: the first three, or the first thrice."""
    return np.ascontiguousarray(pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1))
