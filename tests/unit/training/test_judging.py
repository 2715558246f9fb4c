"""Which scenes are judged on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.annotations.annotations import Annotations
from pipeline.training.data.scenes import TrainingScene
from pipeline.training.judging import sample
from tests.support.prepared import BOX, scene_with


def scenes(count: int) -> list[TrainingScene]:
    """Named backwards, so that the order of names is not that of the list."""
    return [replace(scene_with(BOX, 32), name=f"s{count - 1 - number}") for number in range(count)]


@pytest.mark.parametrize(
    ("count", "most", "chosen"),
    [(9, 3, ["s0", "s4", "s8"]), (3, 5, ["s0", "s1", "s2"]), (4, 1, ["s0"]), (0, 3, [])],
)
def test_scenes_are_chosen_at_even_steps_of_their_names(count: int, most: int, chosen: list[str]) -> None:
    assert [scene.name for scene in sample(scenes(count), most)] == chosen


def test_scenes_with_nothing_to_find_are_judged_only_where_they_are_asked_for() -> None:
    bare = replace(scene_with(BOX, 32), name="a", truth=Annotations.empty())
    ignored = replace(bare, name="b", truth=Annotations(BOX, np.zeros(1, np.int64), np.ones(1, np.bool_)))
    every = [bare, ignored, *scenes(1)]
    assert [scene.name for scene in sample(every, 9)] == ["s0"]
    assert [scene.name for scene in sample(every, 9, empty=True)] == ["a", "b", "s0"]
