"""Objects seen by overlapping scenes of one pass: whichever scenes came first, in however many runs."""

from __future__ import annotations

import math
from collections import defaultdict
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue.detections import update
from pipeline.catalogue.results import published_results
from pipeline.geometry.obb import obb_to_aabb
from pipeline.types import FloatArray
from tests.support.results import MadeScene, dataset_rows

SPACING_PX, FIELD = 40, 6
"""Objects stand on a grid, so that none comes near another's place."""


def truth(seed: int) -> FloatArray:
    """(FIELD², 5) boxes in pixels of the whole field."""
    rng = np.random.default_rng(seed)
    places = (np.mgrid[0:FIELD, 0:FIELD].reshape(2, -1).T + 0.5) * SPACING_PX
    size = np.column_stack([rng.uniform(14, 22, len(places)), rng.uniform(6, 10, len(places))])
    return np.column_stack([places, size, rng.uniform(-math.pi / 2, math.pi / 2, len(places))])


def scene_of(number: int, window: tuple[int, int, int], boxes: FloatArray, seed: int, second: int) -> MadeScene:
    """What a detector finds of the truth in a square window (x, y, side): each box a little beside its place, and what
    the window cuts as what is left of it within."""
    x, y, side = window
    rng = np.random.default_rng([seed, number])
    seen = boxes + rng.uniform(-1, 1, boxes.shape) * (0.6, 0.6, 0.5, 0.4, 0.03)
    seen[:, :2] -= (x, y)
    inside = ((seen[:, :2] > 0) & (seen[:, :2] < side)).all(axis=1)
    bounds = obb_to_aabb(seen)
    cut = ((bounds[:, :2] < 0) | (bounds[:, 2:] > side)).any(axis=1)
    clipped = np.clip(bounds, 0, side)
    seen[cut, :2] = ((clipped[:, :2] + clipped[:, 2:]) / 2)[cut]
    return MadeScene(
        scene_id=f"s{number}", boxes=seen[inside & ~cut], scores=rng.uniform(0.3, 1, int((inside & ~cut).sum())),
        origin=(500_000.0 + 10 * x, 5_600_000.0 - 10 * y), size=side, acquired=f"2023-07-31T23:59:{second:02d}Z",
    )  # fmt: skip


WINDOWS = st.lists(
    st.tuples(st.integers(-60, 180), st.integers(-60, 180), st.integers(80, 200)), min_size=2, max_size=4, unique=True
)


@settings(max_examples=8, deadline=None)
@given(windows=WINDOWS, seed=st.integers(0, 99), data=st.data())
def test_each_object_has_one_primary_whatever_the_order(
    windows: list[tuple[int, int, int]], seed: int, data: st.DataObject
) -> None:
    """Scenes within a minute of each other; then all at once against any order in any split, some published twice."""
    boxes = truth(seed)
    scenes = [scene_of(number, window, boxes, seed, 10 * number) for number, window in enumerate(windows)]
    order = data.draw(st.permutations(scenes))
    ends = sorted(data.draw(st.sets(st.integers(1, len(scenes)), max_size=3)) | {len(scenes)})
    with TemporaryDirectory() as folder:
        once, ticks = f"{folder}/once", f"{folder}/ticks"
        for scene in scenes:
            scene.publish(once)
        update(once, published_results(once))
        start = 0
        for end in ends:
            for scene in order[start:end]:
                scene.publish(ticks)
            update(ticks, published_results(ticks))
            start = end
        if data.draw(st.booleans()):  # one goes, and comes again
            update(ticks, (), (order[0].scene_id,))
            update(ticks, published_results(ticks))
        rows = dataset_rows(once)
        assert rows == dataset_rows(ticks)
    check(rows, scenes, boxes)


def check(rows: list[dict[str, object]], scenes: list[MadeScene], boxes: FloatArray) -> None:
    """Every object of the truth that some scene saw has one id, and one primary: of the views that no scene's edge may
    cut, where there are any, the one with the best score."""
    by_scene = {scene.scene_id: scene for scene in scenes}
    seen = defaultdict(list)
    for row in rows:
        scene = by_scene[str(row["scene_id"])]
        box = np.array([[row[f"px_{name}"] for name in ("cx", "cy", "w", "h", "angle_rad")]], np.float64)
        place = box[0, :2] + (np.array(scene.origin) - (500_000, 5_600_000)) / (10, -10)
        bounds = obb_to_aabb(box)[0]
        cut = bool((bounds[:2] < 2).any() or (bounds[2:] > scene.size - 2).any())
        nearest = int(np.linalg.norm(boxes[:, :2] - place, axis=1).argmin())
        seen[nearest].append((cut, -float(str(row["score"])), row))
    for views in seen.values():
        best = min(views, key=lambda view: view[:2])[2]
        assert {row["object_id"] for _, _, row in views} == {best["detection_id"]}
        assert [row["detection_id"] for _, _, row in views if row["primary"]] == [best["detection_id"]]
