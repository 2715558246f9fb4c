"""The pixels around single errors, and the boxes that lie there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, log2

import numpy as np

from pipeline.config import RasterConfig
from pipeline.errors import PipelineError
from pipeline.evaluation.errors.worst import Example
from pipeline.evaluation.judged import Judged
from pipeline.geometry.obb import obb_to_aabb, obb_to_corners
from pipeline.names import listed
from pipeline.pictures.encoding import as_jpeg
from pipeline.pictures.ground import visible
from pipeline.raster.overview import measure_stretch
from pipeline.raster.own_data import own_data
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.types import ByteArray, FloatArray, Lattice, Scene, Stretch, Window

LEAST_SIDE_PX, MOST_SIDE_PX = 32, 192
"""Of a crop: scene pixels that it shows at least, and pixels that its picture has at most."""
ROOM = 2.2
"""Side of a crop in lengths of what it is about."""
MOST_ASIDE = 60
"""Other boxes drawn on one crop."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crop:
    """A square of a scene around one error. Corners are in scene pixels from the square's upper left."""

    side_px: int
    """Scene pixels."""
    centre_px: tuple[float, float]
    """x, y in scene pixels."""
    jpeg: bytes | None
    """None where the pixels are not to be had."""
    truth: FloatArray
    """(T, 4, 2) corners of the object that the error is about; T is 0 or 1."""
    found: FloatArray
    """(F, 4, 2) the same of the detection."""
    truth_aside: FloatArray
    """(M, 4, 2) other objects in the square."""
    found_aside: FloatArray
    """(N, 4, 2) other detections in it, of at least the score threshold."""
    regions: FloatArray
    """(K, 4, 2) ignore regions that touch it."""


def crops_of(judged: Judged, examples: Iterable[Example]) -> tuple[dict[Example, Crop], tuple[str, ...]]:
    """The crop of every example, and a sentence for scenes whose pixels cannot be shown."""
    names, made, lacking = list(judged.truth), dict[Example, Crop](), dict[str, list[str]]()
    chosen = sorted(examples, key=lambda example: example.scene)
    for scene, group in groupby(chosen, key=lambda example: example.scene):
        name, own = names[scene], list(group)
        squares = [_square(judged, scene, example) for example in own]
        pictures, note = _pictures(judged.images.get(name), squares, judged.raster)
        if note is not None:
            lacking.setdefault(note, []).append(name)
        for example, square, jpeg in zip(own, squares, pictures, strict=True):
            made[example] = _crop(judged, scene, example, square, jpeg)
    return made, tuple(f"{listed(scenes)}: {note}" for note, scenes in lacking.items())


def _boxes(judged: Judged, scene: int, example: Example) -> tuple[FloatArray, FloatArray]:
    """(T, 5) and (F, 5): the object and the detection of an example."""
    names = list(judged.truth)
    before_found = sum(len(judged.found[name]) for name in names[:scene])
    before_truth = sum(len(judged.truth[name]) for name in names[:scene])
    rows_truth = [] if example.annotation is None else [example.annotation - before_truth]
    rows_found = [] if example.detection is None else [example.detection - before_found]
    return judged.truth[names[scene]].boxes[rows_truth], judged.found[names[scene]].boxes[rows_found]


def _square(judged: Judged, scene: int, example: Example) -> Window:
    boxes = np.concatenate(_boxes(judged, scene, example))
    corners = obb_to_corners(boxes).reshape(-1, 2)
    low, high = corners.min(axis=0), corners.max(axis=0)
    side = max(LEAST_SIDE_PX, ceil(ROOM * float((high - low).max())))
    x, y = np.floor((low + high) / 2 - side / 2).astype(int).tolist()
    return Window(x=x, y=y, width=side, height=side)


def _crop(judged: Judged, scene: int, example: Example, square: Window, jpeg: bytes | None) -> Crop:
    name = list(judged.truth)[scene]
    truth, found = _boxes(judged, scene, example)
    seen, known = judged.found[name], judged.truth[name]
    shown = [
        truth,
        found,
        _inside(known.boxes[~known.ignore], square, truth),
        _inside(seen.boxes[seen.scores >= judged.score_threshold], square, found),
        _touching(known.boxes[known.ignore], square),
    ]
    corners = [obb_to_corners(boxes) - np.array([square.x, square.y]) for boxes in shown]
    centre = (square.x + square.width / 2, square.y + square.height / 2)
    return Crop(
        side_px=square.width, centre_px=centre, jpeg=jpeg, truth=corners[0], found=corners[1],
        truth_aside=corners[2], found_aside=corners[3], regions=corners[4],
    )  # fmt: skip


def _inside(boxes: FloatArray, square: Window, own: FloatArray) -> FloatArray:
    """Those of ``boxes`` with their centre in the square, but for ``own``."""
    x, y = boxes[:, 0], boxes[:, 1]
    inside = (x >= square.x) & (x < square.x1) & (y >= square.y) & (y < square.y1)
    same = (boxes[:, None] == own[None]).all(axis=2).any(axis=1)
    others: FloatArray = boxes[inside & ~same][:MOST_ASIDE]
    return others


def _touching(boxes: FloatArray, square: Window) -> FloatArray:
    """Those of ``boxes`` whose bounds touch the square."""
    x, y, x1, y1 = obb_to_aabb(boxes).T
    touching: FloatArray = boxes[(x < square.x1) & (x1 > square.x) & (y < square.y1) & (y1 > square.y)][:MOST_ASIDE]
    return touching


def _pictures(
    uri: str | None, squares: Sequence[Window], raster: RasterConfig
) -> tuple[list[bytes | None], str | None]:
    """A JPEG of every square, and what is to be said when there is none."""
    nothing: list[bytes | None] = [None] * len(squares)
    if uri is None:
        return nothing, "the scene is not at hand, so boxes are drawn without its pixels"
    try:
        with own_data():
            scene = open_scene(uri, raster)
            stretch = measure_stretch(scene, raster)
            return [as_jpeg(_pixels(scene, stretch, raster, square)) for square in squares], None
    except PipelineError as error:
        return nothing, f"boxes are drawn without pixels, for {error}"


def _pixels(scene: Scene, stretch: Stretch, raster: RasterConfig, square: Window) -> ByteArray:
    """(H, W, 3) the square in at most MOST_SIDE_PX pixels a side, shrunk by a power of two."""
    factor = 2 ** max(0, ceil(log2(square.width / MOST_SIDE_PX)))
    lattice = Lattice(width=-(-scene.width // factor), height=-(-scene.height // factor), scale_x=float(factor),
                      scale_y=float(factor), gsd_m=None)  # fmt: skip
    window = Window(x=square.x // factor, y=square.y // factor, width=-(-square.width // factor),
                    height=-(-square.height // factor))  # fmt: skip
    with SceneReader(scene, lattice, stretch, raster) as reader:
        pixels, valid = reader.read(window)
    channels = [0, 1, 2] if pixels.shape[-1] >= 3 else [0, 0, 0]
    return visible(pixels[..., channels], valid)
