"""One tile's detections from both looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RefineConfig
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.second_look.fusion import CROP, FUSED, GLOBAL, crop_boxes, fuse
from pipeline.types import Crop, Detections, Frame, Window
from tests.support.glances import found

LATTICE = Window(x=0, y=0, width=10_000, height=10_000)


def crop_at(x: int, y: int, side: int = 128) -> Crop:
    return Crop(window=Window(x=x, y=y, width=side, height=side), row=0, entropy=0.8)


def test_boxes_that_a_crop_cuts_are_left_to_the_global_look_but_not_at_the_end_of_the_scene() -> None:
    boxes = found([[1064.0, 1064, 30, 10, 0], [1012, 1064, 30, 10, 0], [1064, 1064, 90, 80, 0]], [0.9, 0.9, 0.9])
    inner = crop_boxes(boxes, crop_at(1000, 1000), LATTICE)
    assert inner.boxes[:, 0].tolist() == [1064], "cut on the left; and one too large for the crop"
    first = crop_boxes(boxes, crop_at(1000, 1000), Window(x=1000, y=1000, width=500, height=500))
    assert first.boxes[:, 0].tolist() == [1064, 1012]
    assert set(first.stage) == {CROP}
    assert set(first.entropy) == {0.8}


def test_both_looks_at_one_object_become_one_box() -> None:
    """The crop's box, the better score; another class and a distant box stay apart."""
    seen = found([[100.0, 100, 30, 10, 0.0], [300, 300, 30, 10, 0]], [0.4, 0.6])
    crop = crop_boxes(found([[101.0, 100, 28, 10, 0.05], [140, 100, 20, 8, 0]], [0.7, 0.5]), crop_at(60, 60), LATTICE)
    both = fuse(seen, [crop], RefineConfig(selector="ours"))
    rows = {
        tuple(box[:2]): (score, stage) for box, score, stage in zip(both.boxes, both.scores, both.stage, strict=True)
    }
    assert rows == {(101.0, 100.0): (0.7, FUSED), (140.0, 100.0): (0.5, CROP), (300.0, 300.0): (0.6, GLOBAL)}
    assert both.n_merged.sum() == 4


def test_the_paper_s_scores() -> None:
    """0.7 of the global and 0.3 of the crop's, which is boosted by 1 + 0.2 (SAE - 0.7) first."""
    seen = found([[100.0, 100, 30, 10, 0.0]], [0.4])
    crop = crop_boxes(found([[100.0, 100, 30, 10, 0.0], [140, 100, 20, 8, 0]], [0.8, 0.5]), crop_at(60, 60), LATTICE)
    both = fuse(seen, [crop], RefineConfig(selector="sae", score_rule="published"))
    assert sorted(both.scores) == pytest.approx([0.5 * 1.02, 0.7 * 0.4 + 0.3 * 0.8 * 1.02])


@given(st.integers(0, 10_000))
def test_fusion_pairs_one_to_one_and_loses_nothing(seed: int) -> None:
    """Every box goes in once: the looks that the fused boxes stand for add up."""
    random = np.random.default_rng(seed)
    base = np.column_stack([random.uniform(0, 200, (12, 2)), random.uniform(12, 30, 12), random.uniform(4, 12, 12),
                            random.uniform(-1.5, 1.5, 12)])  # fmt: skip
    moved = base + random.normal(0, 1.0, base.shape) * [1, 1, 0.5, 0.3, 0.05]
    seen, crop = found(base.tolist(), random.random(12).tolist()), found(moved.tolist(), random.random(12).tolist())
    both = fuse(seen, [crop], RefineConfig(selector="ours"))
    assert both.n_merged.sum() == 24
    fused = both[both.stage == FUSED]
    assert len(both) == 24 - len(fused)
    for box, score in zip(fused.boxes, fused.scores, strict=True):
        iou = rotated_iou_pairs(seen.boxes, np.repeat(box[None], 12, 0))
        partners = np.flatnonzero(iou >= 0.4)
        assert len(partners) >= 1
        assert score >= min(seen.scores[partners])


def test_other_classes_are_never_paired() -> None:
    seen = found([[100.0, 100, 30, 10, 0.0]], [0.4])
    other = Detections(seen.boxes, np.array([0.9]), np.array([1]), Frame.LATTICE)
    assert len(fuse(seen, [other], RefineConfig(selector="ours"))) == 2
