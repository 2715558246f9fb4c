"""What ``prepare`` holds out: scenes, or blocks of them, decided from headers and truth before a pixel is read."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pipeline.annotations.annotations import Annotations, annotations_on_lattice
from pipeline.errors import ConfigError
from pipeline.georeference.georeference import Georeference
from pipeline.training.data.prepare import lattice_of
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.data.splits import (
    BlockRule,
    Planned,
    held_blocks,
    held_out,
    held_scenes,
    to_train_on,
)
from pipeline.types import Scene, Window

SPLIT = "split.json"
SHARE = 0.2
BUFFER_PX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Two sides of the same images: what is trained on, and what is held out."""

    rule: BlockRule | None
    """None: by scene."""
    share: float
    seed: int
    held: Mapping[str, tuple[Window, ...]]
    """Scene → its blocks that are held out; by scene, the whole of it or nothing."""
    blocks: int
    """All there are; by scene, scenes."""

    @property
    def folders(self) -> tuple[str, str]:
        """Of the two sides."""
        return "train", "val"

    def parts(self, scene: TrainingScene) -> tuple[list[TrainingScene], list[TrainingScene]]:
        """What of a scene is trained on, and what is held out."""
        held = self.held[scene.name]
        if self.rule is None:
            return ([], [scene]) if held else ([scene], [])
        training = to_train_on(scene, held, self.rule.buffer_px)
        return [training] if training else [], held_out(scene, held)

    def said(self, objects: Sequence[int], whole: int) -> str:
        """A sentence of what went where; ``objects`` of either side, of ``whole`` in all."""
        count = sum(len(one) for one in self.held.values())
        left = whole - sum(objects)
        if self.rule is None:
            what = f"{count} of {self.blocks} scenes are held out"
        else:
            what = (
                f"{count} of {self.blocks} blocks of {self.rule.side_px} px are held out, {self.rule.buffer_px} px "
                f"around them are on neither side; {left} objects are cut by that, and count nowhere"
            )
        return f"{what}: {objects[0]} objects to train on, {objects[1]} held out (seed {self.seed})"

    def check(self, folder: Path) -> None:
        """Raise ConfigError where ``folder`` holds scenes that were not split like this: what is held out now would lie
        among those that are trained on."""
        if not any(any((folder / name).glob("*.npz")) for name in self.folders):
            return
        try:
            known = json.loads((folder / SPLIT).read_text())
        except (OSError, ValueError):
            known = None
        if known != self._content():
            raise ConfigError(
                f"{folder} holds scenes of another split, some of which are held out by this one: give another --out"
            )

    def write(self, folder: Path) -> None:
        """``split.json``: what it was asked for, and which blocks (x, y, width, height) of which scene are held out."""
        partial = folder / f".{SPLIT}.{os.getpid()}"
        partial.write_text(json.dumps(self._content(), indent=2, ensure_ascii=False) + "\n")
        partial.replace(folder / SPLIT)

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"share": self.share, "seed": self.seed}
        if self.rule is not None:
            content |= {"block_px": self.rule.side_px, "buffer_px": self.rule.buffer_px}
        blocks = {
            name: [[one.x, one.y, one.width, one.height] for one in windows] for name, windows in self.held.items()
        }
        return {**content, "held_out": blocks}


def split_of(arguments: Namespace, scenes: Callable[[], Sequence[Planned]]) -> Split | None:
    """The split that the flags ask for; None for none. Raises ConfigError: see :mod:`pipeline.training.data.splits`."""
    if arguments.split_buffer is not None and arguments.split_blocks is None:
        raise ConfigError("--split-buffer is around the blocks of --split-blocks: give that, or leave it out")
    if arguments.hold_out_share is None and arguments.split_blocks is None:
        return None
    share = SHARE if arguments.hold_out_share is None else arguments.hold_out_share
    seed, every = arguments.split_seed, scenes()
    if arguments.split_blocks is None:
        names = held_scenes(every, share, seed)
        whole = {one.name: (Window(x=0, y=0, width=one.width, height=one.height),) for one in every}
        held_whole = {name: window if name in names else () for name, window in whole.items()}
        return Split(rule=None, share=share, seed=seed, held=held_whole, blocks=len(every))
    buffer_px = BUFFER_PX if arguments.split_buffer is None else arguments.split_buffer
    rule = BlockRule(side_px=arguments.split_blocks, buffer_px=buffer_px)
    held, blocks = held_blocks(every, rule, share, seed)
    return Split(rule=rule, share=share, seed=seed, held=held, blocks=blocks)


def planned(scene: Scene, truth: Annotations, arguments: Namespace) -> Planned:
    """An image as the split sees it. Raises SceneError."""
    place = Georeference.of(scene)
    lattice = lattice_of(scene, place, arguments.gsd, arguments.shrink)
    objects = annotations_on_lattice(truth[~truth.ignore], lattice).boxes
    return Planned(
        name=Path(scene.uris[0]).stem, width=lattice.width, height=lattice.height, centres=objects[:, :2],
        ground=None if place is None else _ground(place, scene),
    )  # fmt: skip


def _ground(place: Georeference, scene: Scene) -> Any:
    """The outline of a scene, in longitude and latitude; across the antimeridian it stays in one piece."""
    along = np.linspace(0, 1, 17)[:-1]
    zero, one = np.zeros_like(along), np.ones_like(along)
    ring = np.concatenate([np.column_stack(edge) for edge in
                           ((along, zero), (one, along), (1 - along, one), (zero, 1 - along))])  # fmt: skip
    lonlat = place.scene_to_lonlat((ring * (scene.width, scene.height))[None])[0]
    known = lonlat[np.isfinite(lonlat).all(axis=1)]
    return shapely.make_valid(shapely.Polygon(known)) if len(known) > 2 else None
