"""The truth of scenes, for training and for evaluation alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.frames import scene_to_lattice
from pipeline.geometry.obb import corners_to_obb, obb_to_corners
from pipeline.types import BoolArray, FloatArray, IntArray, Lattice

EVERY_CLASS = -1
"""Class of an ignore region that concerns all classes."""
FLAT, OUTSIDE = "have no area", "lie outside their image"
"""Why an annotated box is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """The truth of one scene, in the frame of the detections it is compared with."""

    boxes: FloatArray
    """(M, 5) oriented boxes."""
    class_ids: IntArray
    """(M,); :data:`EVERY_CLASS` is allowed for ignore regions."""
    ignore: BoolArray
    """(M,) True for regions where a detection is neither right nor wrong."""

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> Annotations:
        """The rows chosen by a boolean mask, an index array or a slice."""
        return Annotations(self.boxes[keep], self.class_ids[keep], self.ignore[keep])

    @classmethod
    def empty(cls) -> Annotations:
        return cls(np.zeros((0, 5)), np.zeros(0, np.int64), np.zeros(0, np.bool_))

    @classmethod
    def concat(cls, first: Annotations, second: Annotations) -> Annotations:
        return cls(
            np.concatenate([first.boxes, second.boxes]),
            np.concatenate([first.class_ids, second.class_ids]),
            np.concatenate([first.ignore, second.ignore]),
        )


def for_classes(truth: Annotations, named: Sequence[str], wanted: Sequence[str]) -> Annotations:
    """``truth``, whose class numbers are indices into ``named``, as one who knows the classes ``wanted`` sees it.

    Class numbers of the answer are indices into ``wanted``. Objects of other classes become ignore regions for every
    class: who was never told what they are is neither right nor wrong there. Regions for every class stay so.
    """
    # The last place answers for EVERY_CLASS, which is -1.
    number = np.array([wanted.index(name) if name in wanted else EVERY_CLASS for name in (*named, "")], np.int64)
    class_ids = number[truth.class_ids]
    return Annotations(truth.boxes, class_ids, truth.ignore | (class_ids == EVERY_CLASS))


def left_out(count: int, why: str) -> tuple[str, ...]:
    """The note that ``count`` boxes of a file were left out; none when there was none. ``why``: FLAT or OUTSIDE."""
    return (f"{count} annotated boxes {why} and were left out",) if count else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedScenes:
    """Annotated images of one source: a COCO file, a folder of DOTA files."""

    classes: tuple[str, ...]
    """``class_ids`` are indices into it. COCO: in the order of the category ids; DOTA: by name."""
    scenes: dict[str, Annotations]
    """By file name, in the order of the file; boxes in scene pixels."""
    notes: tuple[str, ...] = ()
    """What was left out of the file, one sentence each."""


def annotations_on_lattice(truth: Annotations, lattice: Lattice) -> Annotations:
    """Boxes of frame SCENE → frame LATTICE, through their corners: unequal scales bend a rectangle."""
    return replace(truth, boxes=corners_to_obb(scene_to_lattice(obb_to_corners(truth.boxes), lattice)))
