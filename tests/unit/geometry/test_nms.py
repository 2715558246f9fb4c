"""NMS and merge on layouts that break others, and the rules about cut boxes one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.geometry.nms import merge, rotated_nms, total_order
from pipeline.geometry.obb import canonical_obb
from pipeline.types import Detections, FloatArray, Frame
from pipeline.types.detections import COLUMNS


def made(*rows: tuple[float, ...], edge: tuple[bool, ...] | None = None, classes: tuple[int, ...] | None = None,
         looks: tuple[int, ...] | None = None) -> Detections:  # fmt: skip
    """Detections from rows (cx, cy, w, h, angle_rad, score)."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    n = len(table)
    return Detections(
        table[:, :5],
        table[:, 5],
        np.array(classes or [0] * n, np.int64),
        Frame.LATTICE,
        edge=np.array(edge or [False] * n, np.bool_),
        n_merged=np.array(looks or [1] * n, np.int64),
    )


def row_of_objects(length: float, width: float, pitch: float, angle: float, count: int = 1000) -> FloatArray:
    """Boxes side by side like boats in a marina, the whole row turned by ``angle``."""
    along = (np.arange(count) - count / 2) * pitch
    places = np.column_stack([-along * math.sin(angle), along * math.cos(angle)])
    return canonical_obb(np.column_stack([places, np.tile([length, width, angle], (count, 1))]))


@pytest.mark.parametrize(("length", "width", "pitch"), [(12.0, 3.0, 3.5), (16.0, 2.6, 3.2)], ids=["marina", "trucks"])
def test_a_thousand_neighbours_stay_a_thousand_at_every_angle(length: float, width: float, pitch: float) -> None:
    """12 × 3 m boats at 3.5 m and 16 × 2.6 m trucks at 3.2 m: 1,000 found twice are 1,000, at each angle 0 … 179.

    Their horizontal bounds overlap heavily, so NMS on bounds keeps fewer than half of them (and would fail here).
    """
    generator = np.random.default_rng(0)
    for degrees in range(180):
        boxes = row_of_objects(length, width, pitch, math.radians(degrees))
        again = boxes + generator.normal(0, [0.1, 0.1, 0.1, 0.05, 0.002], boxes.shape)
        scores = generator.uniform(size=2000)
        kept = rotated_nms(np.concatenate([boxes, again]), scores, np.zeros(2000, np.int64), 0.3)
        assert sorted(kept % 1000) == list(range(1000)), f"at {degrees} degrees"


def test_the_better_of_two_stays_and_counts_both() -> None:
    merged = merge(made((0, 0, 20, 6, 0.1, 0.6), (1, 0, 20, 6, 0.1, 0.9), looks=(2, 3)), iou_threshold=0.3)
    assert merged.scores.tolist() == [0.9]
    assert merged.n_merged.tolist() == [5]


def test_a_box_that_was_suppressed_suppresses_nothing() -> None:
    """Greedy, not transitive: A beats B; C overlaps B only, so it stays."""
    chain = made((0, 0, 20, 6, 0, 0.9), (8, 0, 20, 6, 0, 0.8), (16, 0, 20, 6, 0, 0.7))
    merged = merge(chain, iou_threshold=0.3)
    assert merged.scores.tolist() == [0.9, 0.7]
    assert merged.n_merged.tolist() == [2, 1]


def test_an_overlap_of_exactly_the_threshold_does_not_suppress() -> None:
    """Two 4 × 2 boxes 2 apart: IoU 4 / 12."""
    pair = made((0, 0, 4, 2, 0, 0.9), (2, 0, 4, 2, 0, 0.8))
    assert len(merge(pair, iou_threshold=1 / 3)) == 2
    assert len(merge(pair, iou_threshold=1 / 3 - 1e-12)) == 1


def test_classes_compete_with_themselves_or_within_their_group() -> None:
    three = made((0, 0, 20, 6, 0, 0.9), (0, 0, 20, 6, 0, 0.8), (0, 0, 20, 6, 0, 0.7), classes=(0, 1, 2))
    assert len(merge(three, iou_threshold=0.3)) == 3
    grouped = merge(three, iou_threshold=0.3, class_groups=np.array([0, 0, 1]))
    assert grouped.class_ids.tolist() == [0, 2]
    assert grouped.n_merged.tolist() == [2, 1]


class TestCutBoxes:
    """Ruling 7: a cut box loses to a whole box that covers at least half of it, which keeps the higher score."""

    def test_a_cut_view_with_the_better_score_loses_its_place_to_the_whole_view_and_lends_its_score(self) -> None:
        """The left half of a ship scores 0.95, the whole ship 0.4; their IoU is 0.5, above the threshold, too."""
        views = made((0, 0, 40, 8, 0, 0.4), (-10, 0, 20, 8, 0, 0.95), edge=(False, True), looks=(2, 3))
        merged = merge(views, iou_threshold=0.3)
        assert merged.scores.tolist() == [0.95]
        assert merged.boxes.tolist() == [[0, 0, 40, 8, 0]]
        assert merged.edge.tolist() == [False]
        assert merged.n_merged.tolist() == [5]

    def test_a_whole_view_keeps_its_own_score_where_that_is_the_better_one(self) -> None:
        views = made((0, 0, 40, 8, 0, 0.95), (-10, 0, 20, 8, 0, 0.4), edge=(False, True))
        assert merge(views, iou_threshold=0.3).scores.tolist() == [0.95]

    def test_a_lower_threshold_does_not_take_a_confident_box_away(self) -> None:
        """The whole view of 0.487 comes in with a threshold of 0.45: the object is still there, with 0.570."""
        views = made((0, 0, 40, 8, 0, 0.487), (-8, 0, 24, 8, 0, 0.570), edge=(False, True))
        assert merge(views[views.scores >= 0.5], iou_threshold=0.3).scores.tolist() == [0.570]
        assert merge(views, iou_threshold=0.3).scores.tolist() == [0.570]

    def test_a_score_that_was_lent_goes_into_the_order_of_the_result(self) -> None:
        two = made((0, 0, 40, 8, 0, 0.4), (-10, 0, 20, 8, 0, 0.95), (90, 0, 40, 8, 0, 0.6), edge=(False, True, False))
        assert merge(two, iou_threshold=0.3).scores.tolist() == [0.95, 0.6]

    def test_a_class_lends_its_score_within_its_group(self) -> None:
        views = made((0, 0, 40, 8, 0, 0.4), (-10, 0, 20, 8, 0, 0.95), edge=(False, True), classes=(1, 0))
        merged = merge(views, iou_threshold=0.3, class_groups=np.array([0, 0]))
        assert (merged.class_ids.tolist(), merged.scores.tolist()) == ([1], [0.95])

    def test_a_sliver_loses_although_its_iou_is_small(self) -> None:
        sliver = made((0, 0, 40, 8, 0, 0.4), (-18, 0, 4, 8, 0, 0.95), edge=(False, True))
        assert merge(sliver, iou_threshold=0.3).boxes.tolist() == [[0, 0, 40, 8, 0]]

    def test_a_cut_box_less_than_half_covered_stays_and_stays_flagged(self) -> None:
        apart = made((0, 0, 40, 8, 0, 0.4), (-21, 0, 10, 8, 0, 0.95), edge=(False, True))
        merged = merge(apart, iou_threshold=0.3)
        assert merged.scores.tolist() == [0.95, 0.4]
        assert merged.edge.tolist() == [True, False]

    def test_half_is_enough(self) -> None:
        half = made((0, 0, 40, 8, 0, 0.4), (-20, 0, 16, 8, 0, 0.95), edge=(False, True))
        assert merge(half, iou_threshold=0.3).boxes.tolist() == [[0, 0, 40, 8, 0]]

    def test_a_whole_box_of_another_class_does_not_count(self) -> None:
        views = made((0, 0, 40, 8, 0, 0.4), (-10, 0, 20, 8, 0, 0.95), edge=(False, True), classes=(0, 1))
        assert len(merge(views, iou_threshold=0.3)) == 2
        assert len(merge(views, iou_threshold=0.3, class_groups=np.array([5, 5]))) == 1

    def test_a_cut_box_does_not_replace_a_cut_box_it_covers(self) -> None:
        """A ship longer than the halo was seen whole by nobody: both views stay, flagged, unless their IoU is high."""
        views = made((0, 0, 40, 8, 0, 0.4), (-18, 0, 4, 8, 0, 0.95), edge=(True, True))
        assert merge(views, iou_threshold=0.3).edge.tolist() == [True, True]
        close = made((0, 0, 40, 8, 0, 0.4), (-2, 0, 36, 8, 0, 0.95), edge=(True, True))
        assert merge(close, iou_threshold=0.3).scores.tolist() == [0.95]

    def test_looks_and_scores_go_through_a_whole_box_that_lost_itself(self) -> None:
        """Cut → whole 0.4 → whole 0.9: the survivor stands for all three."""
        views = made((0, 0, 40, 8, 0, 0.9), (9, 0, 40, 8, 0, 0.4), (24, 0, 10, 8, 0, 0.95), edge=(False, False, True))
        merged = merge(views, iou_threshold=0.3)
        assert merged.scores.tolist() == [0.95]
        assert merged.boxes.tolist() == [[0, 0, 40, 8, 0]]
        assert merged.n_merged.tolist() == [3]

    def test_a_whole_box_loses_to_a_cut_box_it_does_not_cover(self) -> None:
        """The cut view of a long ship (0.9) against a whole box half its size: no half is covered, so scores decide."""
        views = made((0, 0, 40, 8, 0, 0.9), (-11, 0, 19, 8, 0, 0.4), edge=(True, False))
        assert merge(views, iou_threshold=0.3).scores.tolist() == [0.9]


def test_sizes_from_centimetres_to_kilometres() -> None:
    """Duplicates are found whatever the size of the boxes around them; each size has its own level of the grid."""
    sizes = 10.0 ** np.arange(-2, 5)
    boxes = np.column_stack([np.zeros((7, 2)), sizes, sizes / 2, np.full(7, 0.4)])
    twice = np.concatenate([boxes, boxes * [1, 1, 1.01, 1, 1]])
    kept = rotated_nms(twice, np.linspace(0.9, 0.2, 14), np.zeros(14, np.int64), 0.3)
    assert kept.tolist() == list(range(7))


def test_a_low_threshold_sees_rivals_of_very_different_size() -> None:
    """At a threshold of 0.01 a 2 × 2 box in a 10 × 10 one (IoU 0.04) goes, and so does the larger of the two."""
    for scores in ([0.9, 0.8], [0.8, 0.9]):
        both = np.array([[0.0, 0, 10, 10, 0], [3, 3, 2, 2, 0.5]])
        assert len(rotated_nms(both, np.array(scores), np.zeros(2, np.int64), 0.01)) == 1
        assert len(rotated_nms(both, np.array(scores), np.zeros(2, np.int64), 0.05)) == 2


def test_boxes_without_area_neither_suppress_nor_vanish() -> None:
    flat = made((0, 0, 5, 0, 0, 0.9), (0, 0, 5, 0, 0, 0.8), (0, 0, 5, 2, 0, 0.7), edge=(True, False, False))
    assert len(merge(flat, iou_threshold=0.3)) == 3


def test_nothing_and_one() -> None:
    assert len(merge(Detections.empty(Frame.LATTICE), iou_threshold=0.3)) == 0
    assert rotated_nms(np.zeros((0, 5)), np.zeros(0), np.zeros(0, np.int64), 0.5).shape == (0,)
    assert len(merge(made((0, 0, 5, 2, 0, 0.7)), iou_threshold=0.3)) == 1


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        merge(made((0, math.nan, 5, 2, 0, 0.7)), iou_threshold=0.3)


def test_columns_travel_with_their_rows() -> None:
    d = Detections(
        np.array([[0.0, 0, 9, 4, 0], [50, 0, 9, 4, 0]]),
        np.array([0.2, 0.6]),
        np.array([3, 1]),
        Frame.SCENE,
        edge=np.array([True, False]),
        tile_index=np.array([7, 8]),
        stage=np.array([1, 0]),
        entropy=np.array([0.25, 0.75]),
    )
    merged = merge(d, iou_threshold=0.3)
    assert merged.frame == Frame.SCENE
    assert merged.class_ids.tolist() == [1, 3]
    assert merged.edge.tolist() == [False, True]
    assert merged.tile_index.tolist() == [8, 7]
    assert merged.stage.tolist() == [0, 1]
    assert merged.entropy.tolist() == [0.75, 0.25]


def test_equal_scores_are_ranked_by_class_then_quantised_geometry() -> None:
    """A difference below 1/256 px in x does not outrank a real one in y."""
    tied = made((10.001, 5, 9, 4, 0, 0.5), (10.0, 8, 9, 4, 0, 0.5), (0, 0, 9, 4, 0, 0.5), classes=(0, 0, 1))
    assert total_order(tied).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_breaks_ties(name: str) -> None:
    """Two rows that differ in one column only are sorted the same whichever came first."""
    one = made((10.0, 5, 9, 4, 0.25, 0.5))
    one = replace(one, entropy=np.array([0.25]))
    column = getattr(one, name)
    other = replace(one, **{name: ~column if column.dtype == np.bool_ else (column + column.dtype.type(1))})
    for pair in ([one, other], [other, one]):
        both = Detections.concat(pair, Frame.LATTICE)
        first = both[total_order(both)[:1]]
        assert getattr(first, name).tolist() == getattr(other if name == "scores" else one, name).tolist()
