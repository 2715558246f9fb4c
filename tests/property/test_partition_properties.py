"""A merge in parts is the merge: bit for bit, for any detections, however they are cut."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.local import LocalExecutor
from pipeline.geometry.nms import groups_of, merge, total_order
from pipeline.geometry.partitions import Part, cores_of, merge_in_parts, parts_of
from pipeline.types import Detections, FloatArray, Frame, IntArray
from pipeline.types.detections import COLUMNS
from tests.support.strategies import detections

THRESHOLDS = st.sampled_from([0.05, 0.3, 0.5, 0.9])
GROUPS = st.sampled_from([None, (0, 0, 2), (0, 0, 0)])


def nobody() -> None:
    raise AssertionError("merging needs no detector")


RUN = LocalExecutor(nobody).run  # type: ignore[arg-type]


def same(a: Detections, b: Detections) -> bool:
    """Equal bit for bit, row by row."""
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in COLUMNS)


def parts(d: Detections, size: int, threshold: float = 0.3) -> list[Part]:
    ranked = d[total_order(d)]
    return list(parts_of(ranked, groups_of(ranked, None), threshold, size))


def chain(count: int, angle: float = 0.0) -> Detections:
    """Boxes of 10 x 4 in a row, each overlapping the next by more than the threshold; scores fall along the row.

    Greedy NMS keeps every second one, and which depends on where the chain begins.
    """
    along = 4.0 * np.arange(count)
    place = np.column_stack([along * np.cos(angle), along * np.sin(angle)])
    boxes = np.column_stack([place, np.tile([10.0, 4.0, angle], (count, 1))])
    return Detections(boxes, np.linspace(0.9, 0.1, count), np.zeros(count, np.int64), Frame.LATTICE)


@given(detections(), THRESHOLDS, GROUPS, st.integers(1, 40))
@settings(max_examples=200)
def test_a_merge_in_parts_equals_the_merge(
    d: Detections, threshold: float, groups: tuple[int, ...] | None, size: int
) -> None:
    """Crowded boxes, a third of them cut, many with equal scores, some repeated exactly."""
    group: IntArray | None = None if groups is None else np.array(groups)
    expected = merge(d, iou_threshold=threshold, class_groups=group)
    got = merge_in_parts(d, RUN, iou_threshold=threshold, class_groups=group, partition_boxes=size)
    assert same(got, expected)


@given(detections(extent=400.0), detections(extent=20.0), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_boxes_without_area_giants_and_far_places_change_nothing(
    a: Detections, b: Detections, size: int, seed: int
) -> None:
    """A loose crowd and a dense one at UTM magnitudes, some boxes flat, some a hundred times larger, in any order."""
    d = Detections.concat([a, b], Frame.LATTICE)
    generator = np.random.default_rng(seed)
    boxes: FloatArray = d.boxes + np.array([5e6, 4e5, 0, 0, 0])
    boxes[generator.uniform(size=len(d)) < 0.1, 3] = 0.0
    boxes[generator.uniform(size=len(d)) < 0.05, 2:4] *= 100.0
    d = replace(d, boxes=boxes)[generator.permutation(len(d))]
    got = merge_in_parts(d, RUN, iou_threshold=0.3, partition_boxes=size)
    assert same(got, merge(d, iou_threshold=0.3))


@pytest.mark.parametrize("angle", [0.0, 0.7])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_chain_through_all_parts_is_followed_to_its_beginning(angle: float, size: int) -> None:
    d = chain(400, angle)
    got = merge_in_parts(d, RUN, iou_threshold=0.3, partition_boxes=size)
    assert same(got, merge(d, iou_threshold=0.3))
    assert 100 < len(got) < 300
    last = max(parts(d, size), key=lambda part: part.rank[part.core].max())
    assert last.rank.tolist() == list(range(400))


def test_a_chain_of_cut_boxes_is_followed_through_what_covers_them() -> None:
    """Whole boxes of the lowest scores cover every other cut box: only then does the rest of the chain stand."""
    d = chain(200)
    covers = replace(d[::2], boxes=d.boxes[::2] + np.array([0, 0, 0, 2.0, 0]), scores=np.full(100, 0.01))
    cut = replace(d, edge=np.ones(200, np.bool_))
    both = Detections.concat([cut, covers], Frame.LATTICE)
    for size in (1, 9, 60):
        got = merge_in_parts(both, RUN, iou_threshold=0.3, partition_boxes=size)
        assert same(got, merge(both, iou_threshold=0.3))


def test_a_giant_reaches_deep_into_another_part_and_touches_no_box_at_its_rim() -> None:
    """The core of the three boxes on the right is wide; only the middle one, far inside, lies under the giant."""
    places = np.array([[0, 0], [60, 500], [120, 1000], [-1, 500], [-900, 0], [-900, 1000]], np.float64)
    sizes = np.array([[8, 6, 0]] * 3 + [[300, 250, 0]] + [[8, 6, 0]] * 2, np.float64)
    edge = np.array([False, True, False, False, False, False])
    d = Detections(
        np.hstack([places, sizes]), np.linspace(0.9, 0.4, 6), np.zeros(6, np.int64), Frame.LATTICE, edge=edge
    )
    merged = merge(d, iou_threshold=0.3)
    assert len(merged) == 5
    assert {frozenset(part.rank[part.core].tolist()) for part in parts(d, 3)} == {
        frozenset((0, 1, 2)),
        frozenset((3, 4, 5)),
    }
    assert same(merge_in_parts(d, RUN, iou_threshold=0.3, partition_boxes=3), merged)


def test_parts_hold_what_they_need_and_little_else() -> None:
    """Three jittered views of 20,000 objects, in parts of 2,000: every box decided once, closures a few percent."""
    generator = np.random.default_rng(5)
    truth = np.column_stack(
        [generator.uniform(0, 4000, (20_000, 2)), np.tile([20.0, 8.0], (20_000, 1)), generator.uniform(0, 1.5, 20_000)]
    )
    boxes = np.concatenate([truth + generator.normal(0, 0.5, truth.shape) * [1, 1, 1, 1, 0.05] for _ in range(3)])
    d = Detections(boxes, generator.uniform(size=60_000), np.zeros(60_000, np.int64), Frame.LATTICE,
                   edge=generator.uniform(size=60_000) < 0.1)  # fmt: skip
    made = parts(d, 2_000)
    decided = np.concatenate([part.rank[part.core] for part in made])
    assert np.array_equal(np.sort(decided), np.arange(60_000))
    assert max(int(part.core.sum()) for part in made) <= 2_000
    assert sum(len(part.rank) for part in made) < 1.05 * 60_000
    assert all((np.diff(part.rank) > 0).all() for part in made)
    got = merge_in_parts(d, RUN, iou_threshold=0.3, partition_boxes=2_000)
    assert same(got, merge(d, iou_threshold=0.3))
    assert max(len(pickle.dumps(part)) for part in made) < 2_100 * 70


def test_cores_are_rectangles_of_nearly_equal_numbers() -> None:
    """No centre of one core lies inside the rectangle of another; equal places are no obstacle."""
    places = np.random.default_rng(2).integers(0, 30, (5_000, 2)).astype(np.float64)
    cores = cores_of(places, 300)
    assert sorted(np.concatenate(cores).tolist()) == list(range(5_000))
    assert all(150 <= len(core) <= 300 for core in cores)
    for core in cores:
        low, high = places[core].min(axis=0), places[core].max(axis=0)
        others = np.delete(places, core, axis=0)
        assert not ((others > low) & (others < high)).all(axis=1).any()


def test_nothing_and_one_box() -> None:
    nothing = Detections.empty(Frame.LATTICE)
    assert len(merge_in_parts(nothing, RUN, iou_threshold=0.3, partition_boxes=9)) == 0
    assert same(merge_in_parts(chain(1), RUN, iou_threshold=0.3, partition_boxes=1), chain(1))


def test_a_box_that_is_not_finite_is_refused() -> None:
    d = chain(3)
    boxes = d.boxes.copy()
    boxes[1, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        merge_in_parts(replace(d, boxes=boxes), RUN, iou_threshold=0.3, partition_boxes=2)
