"""What is held out: whole scenes, or square blocks of them with a buffer around. Never tiles drawn at random, which
show the same ground on both sides.

Pixels that the other side owns are holes (0 in every band) in what is written: whatever tile is drawn from a training
scene, turned, magnified or hanging over an edge, it cannot show a pixel that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import shapely

from pipeline.annotations.annotations import Annotations
from pipeline.errors import ConfigError
from pipeline.training.data.scenes import TrainingScene
from pipeline.types import BoolArray, FloatArray, Window

SAME_GROUND = 0.01
"""Two scenes that share more than this part of the smaller one's ground show the same place."""
DRAWS = 64
SAMPLE_PX = 2.0
"""Whether a box lies in what is kept is asked at points no farther apart."""
MOST_SAMPLES = 2**18
"""At once: an ignore region may be as large as its scene."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planned:
    """A scene before it is read."""

    name: str
    width: int
    """Prepared pixels."""
    height: int
    centres: FloatArray
    """(N, 2) of its objects, prepared pixels."""
    ground: Any = None
    """Its outline in longitude and latitude, a shapely polygon; None where nothing says where it lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRule:
    """How scenes are cut into blocks."""

    side_px: int
    buffer_px: int
    """Around held-out blocks, in training scenes: pixels that are on neither side."""

    def __post_init__(self) -> None:
        if self.side_px < 1 or self.buffer_px < 0:
            raise ConfigError("--split-blocks is at least 1 pixel, --split-buffer at least 0")


def blocks_of(width: int, height: int, side_px: int) -> list[Window]:
    """A scene in blocks as nearly of that side as they come out even."""
    xs, ys = (np.linspace(0, side, max(1, round(side / side_px)) + 1).round().astype(int) for side in (width, height))
    return [
        Window(x=int(x), y=int(y), width=int(x1 - x), height=int(y1 - y))
        for y, y1 in pairwise(ys)
        for x, x1 in pairwise(xs)
    ]  # fmt: skip


def held_blocks(
    scenes: Sequence[Planned], rule: BlockRule, share: float, seed: int
) -> tuple[dict[str, tuple[Window, ...]], int]:
    """Blocks to hold out, by scene, and how many there are in all: drawn by ``seed`` until they hold ``share`` of
    objects and area.

    Raises ConfigError for scenes that show the same ground: a block held out of one would be trained on in the other;
    and when there are too few blocks.
    """
    for group in same_ground(scenes):
        if len(group) > 1:
            raise ConfigError(
                f"the images {scenes[group[0]].name} and {scenes[group[1]].name} show the same ground: a block held "
                "out of one would be trained on in the other; split by scene (--hold-out-share without --split-blocks)"
            )
    every = [(scene, block) for scene in scenes for block in blocks_of(scene.width, scene.height, rule.side_px)]
    shares = _shares([(_inside(scene.centres, block), block.pixels) for scene, block in every])
    chosen = _drawn(shares, share, seed, "blocks; give fewer pixels to --split-blocks")
    held: dict[str, tuple[Window, ...]] = {scene.name: () for scene in scenes}
    for at in chosen:
        scene, block = every[at]
        held[scene.name] += (block,)
    return held, len(every)


def held_scenes(scenes: Sequence[Planned], share: float, seed: int) -> frozenset[str]:
    """Names of scenes to hold out: drawn by ``seed`` until they hold ``share`` of objects and area; scenes that show
    the same ground stay together. Raises ConfigError when there are too few."""
    groups = same_ground(scenes)
    shares = _shares([
        (sum(len(scenes[at].centres) for at in group), sum(scenes[at].width * scenes[at].height for at in group))
        for group in groups
    ])  # fmt: skip
    chosen = _drawn(shares, share, seed, "scenes that show ground of their own; cut them with --split-blocks")
    return frozenset(scenes[at].name for group in chosen for at in groups[group])


def same_ground(scenes: Sequence[Planned]) -> list[list[int]]:
    """Scenes in groups that are connected by ground they share, in the order of their first."""
    placed = [at for at, scene in enumerate(scenes) if scene.ground is not None]
    outlines = [scenes[at].ground for at in placed]
    leader = list(range(len(scenes)))

    def root(at: int) -> int:
        while leader[at] != at:
            at = leader[at]
        return at

    if placed:
        for one, other in shapely.STRtree(outlines).query(outlines, predicate="intersects").T.tolist():
            smaller = min(outlines[one].area, outlines[other].area)
            if one < other and outlines[one].intersection(outlines[other]).area > SAME_GROUND * smaller:
                first, second = sorted((root(placed[one]), root(placed[other])))
                leader[second] = first
    groups: dict[int, list[int]] = {}
    for at in range(len(scenes)):
        groups.setdefault(root(at), []).append(at)
    return list(groups.values())


def to_train_on(scene: TrainingScene, held: Sequence[Window], buffer_px: int) -> TrainingScene | None:
    """The scene without held-out blocks and the buffer around them; None when nothing is left.

    Objects that are partly gone are ignore regions; those wholly gone are gone.
    """
    keep = np.ones(scene.pixels.shape[:2], np.bool_)
    for block in held:
        low_x, low_y = max(0, block.x - buffer_px), max(0, block.y - buffer_px)
        keep[low_y : block.y1 + buffer_px, low_x : block.x1 + buffer_px] = False
    height, width = scene.pixels.shape[:2]
    return _cut(scene, scene.name, keep, Window(x=0, y=0, width=width, height=height)) if keep.any() else None


def held_out(scene: TrainingScene, held: Sequence[Window]) -> list[TrainingScene]:
    """The held-out blocks of a scene, those that touch each other as one scene: ``NAME_held1``, …

    Objects that reach out of them are ignore regions.
    """
    parts = []
    for number, group in enumerate(_touching(held), 1):
        keep = np.zeros(scene.pixels.shape[:2], np.bool_)
        for one in group:
            keep[one.y : one.y1, one.x : one.x1] = True
        x, y = min(one.x for one in group), min(one.y for one in group)
        x1, y1 = max(one.x1 for one in group), max(one.y1 for one in group)
        window = Window(x=x, y=y, width=x1 - x, height=y1 - y)
        parts.append(_cut(scene, f"{scene.name}_held{number}", keep, window))
    return parts


def _cut(scene: TrainingScene, name: str, keep: BoolArray, window: Window) -> TrainingScene:
    """``window`` of the scene, with holes where ``keep`` (H, W), of the whole scene, is False."""
    truth = scene.truth
    shares = np.array([_share(box, keep) for box in truth.boxes])
    ignore = truth.ignore | (shares < 1)
    part = np.s_[window.y : window.y1, window.x : window.x1]
    pixels = np.where(keep[part][..., None], scene.pixels[part], np.uint8(0))
    boxes = truth.boxes - np.array([window.x, window.y, 0, 0, 0])
    return TrainingScene(name, pixels, Annotations(boxes, truth.class_ids, ignore)[shares > 0])


def _share(box: FloatArray, keep: BoolArray) -> float:
    """Share of a box that lies in what is kept, of the part of it that the scene shows."""
    along, across = (np.linspace(-0.5, 0.5, ceil(side / SAMPLE_PX) + 1) * side for side in box[2:4])
    cos, sin = np.cos(box[4]), np.sin(box[4])
    shown = kept = 0
    for rows in np.array_split(across, ceil(len(across) * len(along) / MOST_SAMPLES)):
        dx, dy = (grid.ravel() for grid in np.meshgrid(along, rows))
        x, y = (np.floor(v).astype(int) for v in (box[0] + dx * cos - dy * sin, box[1] + dx * sin + dy * cos))
        inside = (x >= 0) & (y >= 0) & (x < keep.shape[1]) & (y < keep.shape[0])
        shown += int(inside.sum())
        kept += int(keep[y[inside], x[inside]].sum())
    return kept / shown if shown else 0.0


def _touching(blocks: Sequence[Window]) -> list[list[Window]]:
    """Blocks in groups that are connected by common edges."""
    waiting, groups = list(blocks), []
    while waiting:
        group, edge = [], [waiting.pop(0)]
        while edge:
            one = edge.pop()
            group.append(one)
            near = [other for other in waiting if _share_an_edge(one, other)]
            waiting = [other for other in waiting if other not in near]
            edge += near
        groups.append(group)
    return groups


def _share_an_edge(one: Window, other: Window) -> bool:
    across = min(one.x1, other.x1) - max(one.x, other.x)
    down = min(one.y1, other.y1) - max(one.y, other.y)
    return min(across, down) == 0 and max(across, down) > 0


def _inside(centres: FloatArray, block: Window) -> int:
    low, high = (block.x, block.y), (block.x1, block.y1)
    return int(np.all((centres >= low) & (centres < high), axis=1).sum())


def _shares(parts: Sequence[tuple[int, int]]) -> FloatArray:
    """(N, 2) of objects and of area; of area alone, twice, where there is no object."""
    counts = np.array(parts, np.float64)
    if not counts[:, 0].any():
        counts[:, 0] = counts[:, 1]
    return np.asarray(counts / counts.sum(axis=0))


def _drawn(shares: FloatArray, share: float, seed: int, what: str) -> list[int]:
    """Numbers of the rows that are held out, at least one and never all: of DRAWS drawn by ``seed`` those whose objects
    and area together come nearest to ``share``."""
    if not 0 < share < 1:
        raise ConfigError(f"--hold-out-share lies between 0 and 1, not {share:g}")
    if len(shares) < 2:
        raise ConfigError(f"nothing can be held out: there is only {len(shares)} of {what}")
    random, best, nearest = np.random.default_rng(seed), np.zeros(0, np.int64), np.inf
    for _ in range(DRAWS):
        order = random.permutation(len(shares))
        away = np.abs(np.cumsum(shares[order], axis=0) - share).sum(axis=1)[:-1]
        count = int(np.argmin(away))
        if away[count] < nearest:
            best, nearest = order[: count + 1], float(away[count])
    return sorted(best.tolist())
