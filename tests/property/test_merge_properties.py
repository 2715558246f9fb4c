"""What holds for the merge of any detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry.nms import merge, rotated_nms, total_order
from pipeline.geometry.obb import obb_to_corners
from pipeline.geometry.overlap import intersection_area_pairs, rotated_iou_pairs
from pipeline.types import BoolArray, Detections, FloatArray, Frame, IntArray
from pipeline.types.detections import COLUMNS
from tests.support.strategies import detections

THRESHOLDS = st.sampled_from([0.05, 0.3, 0.5, 0.9])


def same(a: Detections, b: Detections) -> bool:
    """Equal bit for bit, row by row."""
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in COLUMNS)


def pairs(d: Detections) -> tuple[IntArray, IntArray]:
    """All ordered pairs of different rows of one class."""
    i, j = np.nonzero((d.class_ids[:, None] == d.class_ids) & ~np.eye(len(d), dtype=bool))
    return i, j


def shapely_greedy(d: Detections, iou_threshold: float) -> IntArray:
    """Greedy NMS written plainly on GEOS areas: the reference."""
    order = total_order(d)
    shapes = shapely.polygons(obb_to_corners(d.boxes[order]))
    i, j = shapely.STRtree(shapes).query(shapes)
    common, area = np.zeros((len(d), len(d))), d.boxes[order, 2] * d.boxes[order, 3]
    common[i, j] = shapely.area(shapely.intersection(shapes[i], shapes[j]))
    beaten = common / (area[:, None] + area - common) > iou_threshold
    beaten &= d.class_ids[order][:, None] == d.class_ids[order]
    kept: list[int] = []
    for row in range(len(d)):
        if not beaten[row, kept].any():
            kept.append(row)
    return order[kept]


@given(detections(), THRESHOLDS, st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_merge_ignores_the_order_of_its_input(d: Detections, threshold: float, seed: int) -> None:
    """Bit for bit, in every column, row order included; scores tie often, rows repeat now and then."""
    shuffled = d[np.random.default_rng(seed).permutation(len(d))]
    assert same(merge(d, iou_threshold=threshold), merge(shuffled, iou_threshold=threshold))


@given(detections(), THRESHOLDS)
@settings(max_examples=60)
def test_merge_is_idempotent(d: Detections, threshold: float) -> None:
    once = merge(d, iou_threshold=threshold)
    assert same(once, merge(once, iou_threshold=threshold))


@given(detections(), THRESHOLDS)
@settings(max_examples=60)
def test_merge_loses_no_look(d: Detections, threshold: float) -> None:
    """The looks behind the merged boxes are all the looks there were, per class."""
    merged = merge(d, iou_threshold=threshold)
    for class_id in range(3):
        looks = d.n_merged[d.class_ids == class_id].sum()
        assert merged.n_merged[merged.class_ids == class_id].sum() == looks


@given(detections(), THRESHOLDS)
@settings(max_examples=60)
def test_no_two_kept_boxes_of_a_class_overlap_more_than_the_threshold(d: Detections, threshold: float) -> None:
    merged = merge(d, iou_threshold=threshold)
    i, j = pairs(merged)
    assert (rotated_iou_pairs(merged.boxes[i], merged.boxes[j]) <= threshold).all()


@given(detections(), THRESHOLDS)
@settings(max_examples=60)
def test_no_kept_cut_box_is_half_covered_by_a_whole_one_of_the_input(d: Detections, threshold: float) -> None:
    merged = merge(d, iou_threshold=threshold)
    cut, whole = merged[merged.edge], d[~d.edge]
    i, j = np.nonzero(cut.class_ids[:, None] == whole.class_ids)
    common = intersection_area_pairs(cut.boxes[i], whole.boxes[j])
    assert (common < 0.5 * cut.boxes[i, 2] * cut.boxes[i, 3]).all()


def stands_for(box: Detections, views: Detections, iou_threshold: float, group: IntArray) -> BoolArray:
    """(N,) which views ``box`` (one row) may stand for: of its group, it is the same, has an IoU above the threshold,
    or is whole and covers half of the view, a cut one."""
    mine = np.repeat(box.boxes, len(views), axis=0)
    alike = (mine == views.boxes).all(axis=1) | (rotated_iou_pairs(views.boxes, mine) > iou_threshold)
    half = intersection_area_pairs(views.boxes, mine) >= 0.5 * views.boxes[:, 2] * views.boxes[:, 3]
    same_group: BoolArray = group[views.class_ids] == group[box.class_ids]
    stands: BoolArray = same_group & (alike | (half & views.edge & ~box.edge))
    return stands


def reported(views: Detections, merged: Detections, d: Detections, iou_threshold: float, group: IntArray) -> BoolArray:
    """(N,) whether a merged box of at least its score stands for each view, or for a whole view in ``d`` that does."""
    found = np.zeros(len(views), bool)
    for row in range(len(merged)):
        kept = merged[row : row + 1]
        direct = stands_for(kept, views, iou_threshold, group)
        for link in np.flatnonzero(~d.edge & stands_for(kept, d, iou_threshold, group)):
            direct |= views.edge & stands_for(d[link : link + 1], views, iou_threshold, group)
        found |= direct & (kept.scores[0] >= views.scores)
    return found


GROUPS = st.sampled_from([(0, 1, 2), (0, 0, 2), (0, 0, 0)])


@given(detections(max_size=15), THRESHOLDS, GROUPS)
@settings(max_examples=100)
def test_every_view_is_reported_with_at_least_its_score(
    d: Detections, threshold: float, groups: tuple[int, ...]
) -> None:
    """So a lower score threshold takes nothing away: what it adds replaces no view by a box of a lower score."""
    group = np.array(groups)
    assert reported(d, merge(d, iou_threshold=threshold, class_groups=group), d, threshold, group).all()


@given(detections(max_size=15), THRESHOLDS, GROUPS)
@settings(max_examples=60)
def test_a_lower_score_threshold_takes_no_object_away(d: Detections, threshold: float, groups: tuple[int, ...]) -> None:
    """What is reported at a score threshold is reported at every lower one, its box and the view its score is of."""
    group = np.array(groups)
    for strict, lenient in ((0.6, 0.3), (0.6, 0.0), (0.3, 0.0)):
        few, many = d[d.scores >= strict], d[d.scores >= lenient]
        before = merge(few, iou_threshold=threshold, class_groups=group)
        after = merge(many, iou_threshold=threshold, class_groups=group)
        rows = (few.boxes[:, None] == before.boxes).all(axis=2).any(axis=1)
        lenders = few.edge & np.isin(few.scores, before.scores)
        assert reported(few[rows | lenders], after, many, threshold, group).all()
        if len(before):
            assert after.scores.max() >= before.scores.max()


@given(detections(), THRESHOLDS)
@settings(max_examples=60)
def test_cut_views_change_no_whole_box_but_its_score(d: Detections, threshold: float) -> None:
    """Where every cut view is half covered by a whole one, the kept boxes are those of the whole views alone."""
    whole, cut = d[~d.edge], d[d.edge]
    covered = np.zeros(len(cut), bool)
    for row in range(len(whole)):
        other = whole[row : row + 1]
        half = intersection_area_pairs(cut.boxes, np.repeat(other.boxes, len(cut), axis=0))
        covered |= (cut.class_ids == other.class_ids) & (half >= 0.5 * cut.boxes[:, 2] * cut.boxes[:, 3])
    both = merge(Detections.concat([whole, cut[covered]], Frame.LATTICE), iou_threshold=threshold)
    alone = merge(whole, iou_threshold=threshold)
    kept, expected = (np.column_stack([m.boxes, m.class_ids]) for m in (both, alone))
    assert kept[np.lexsort(kept.T)].tobytes() == expected[np.lexsort(expected.T)].tobytes()
    assert (both.scores >= alone.scores).all()


@given(detections(), THRESHOLDS)
@settings(max_examples=60)
def test_every_dropped_box_has_a_reason(d: Detections, threshold: float) -> None:
    """A whole box goes only for a kept box of its class, ranked before it, with an IoU above the threshold."""
    whole = d[~d.edge]
    kept = rotated_nms(whole.boxes, whole.scores, whole.class_ids, threshold)
    assert (np.diff(whole.scores[kept]) <= 0).all()
    for row in np.setdiff1d(np.arange(len(whole)), kept):
        rivals = kept[(whole.class_ids[kept] == whole.class_ids[row]) & (whole.scores[kept] >= whole.scores[row])]
        box = np.repeat(whole.boxes[row : row + 1], len(rivals), axis=0)
        assert (rotated_iou_pairs(box, whole.boxes[rivals]) > threshold).any()


@given(detections(edges=False), st.sampled_from([0.0501, 0.3001, 0.5001, 0.9001]))
@settings(max_examples=60)
def test_nms_keeps_what_greedy_nms_on_shapely_keeps(d: Detections, threshold: float) -> None:
    """Differential; thresholds that no box of round numbers meets exactly. Rows of one box, class and score are one
    to NMS, whichever of them it names."""
    kept, expected = rotated_nms(d.boxes, d.scores, d.class_ids, threshold), shapely_greedy(d, threshold)
    for column in (d.boxes, d.scores, d.class_ids):
        assert column[kept].tolist() == column[expected].tolist()


@given(detections(), detections(), THRESHOLDS)
@settings(max_examples=60)
def test_what_is_far_away_changes_nothing(a: Detections, b: Detections, threshold: float) -> None:
    far: FloatArray = b.boxes + np.array([1 << 20, -(1 << 19), 0, 0, 0])
    b = replace(b, boxes=far)
    together = merge(Detections.concat([a, b], Frame.LATTICE), iou_threshold=threshold)
    near = together.boxes[:, 0] < 1 << 19
    assert same(together[near], merge(a, iou_threshold=threshold))
    assert same(together[~near], merge(b, iou_threshold=threshold))


def test_nms_equals_shapely_at_scale() -> None:
    """500 crowded boxes of very different sizes and shapes, five classes, three thresholds: the same rows kept."""
    generator = np.random.default_rng(11)
    n = 500
    size = 10 ** generator.uniform(0, 1.7, (n, 2))
    boxes = np.column_stack([generator.uniform(0, 100, (n, 2)), size, generator.uniform(-4, 4, n)])
    d = Detections(boxes, generator.uniform(size=n), generator.integers(0, 5, n), Frame.LATTICE)
    for threshold in (0.02, 0.1, 0.3):
        expected = shapely_greedy(d, threshold)
        assert 50 < len(expected) < n
        assert rotated_nms(d.boxes, d.scores, d.class_ids, threshold).tolist() == expected.tolist()
