"""The oracle detector: deterministic, cut where the chip cuts, whole where it does not."""

from __future__ import annotations

import pickle

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detectors.protocol import Detector
from pipeline.geometry.frames import chip_to_lattice
from pipeline.geometry.obb import obb_to_corners
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.synth.oracle import Jitter, OracleDetector, clipped, oracle_card, smallest_rectangle, untiled
from pipeline.types import Chip, Window

TRUTH = np.array([[50.0, 50, 30, 10, 0.3], [98.0, 40, 24, 8, 0.0], [150.0, 90, 40, 12, -1.2], [20.3, 70.7, 8, 4, 1.0]])
NEAR, WIDE = Window(x=0, y=0, width=100, height=100), Window(x=10, y=10, width=300, height=200)


def oracle(**settings: object) -> OracleDetector:
    return OracleDetector(boxes=TRUTH, class_ids=np.zeros(4, np.int64), card=oracle_card(TRUTH), **settings)  # type: ignore[arg-type]


def chip(window: Window, shrink: int = 1) -> Chip:
    return Chip(pixels=np.zeros((window.height // shrink, window.width // shrink, 3), np.uint8), window=window)


def test_it_is_a_detector_that_survives_pickling() -> None:
    first = oracle(jitter=Jitter(centre_px=1, size=0.1, angle_rad=0.1, score=0.05))
    second = pickle.loads(pickle.dumps(first))
    assert isinstance(first, Detector)
    for a, b in zip(*(d.detect([chip(NEAR), chip(WIDE)], score_threshold=0.0) for d in (first, second)), strict=True):
        assert a.detections.boxes.tobytes() == b.detections.boxes.tobytes()
        assert a.detections.scores.tobytes() == b.detections.scores.tobytes()


def test_whole_views_are_the_truth_bit_for_bit_in_every_window() -> None:
    answers = [oracle().detect([chip(w)], score_threshold=0.0)[0].detections for w in (WIDE, NEAR)]
    wide, near = chip_to_lattice(answers[0].boxes, WIDE), chip_to_lattice(answers[1].boxes, NEAR)
    assert wide[0].tobytes() == near[0].tobytes()
    assert answers[0].scores[0] == answers[1].scores[0]
    np.testing.assert_allclose(wide[:3], TRUTH[:3], atol=1e-4)


def test_a_cut_object_is_answered_by_its_visible_part() -> None:
    """The object at x = 86 … 110 shows 14 of its 24 pixels in a window that ends at 100."""
    boxes = oracle().detect([chip(NEAR)], score_threshold=0.0)[0].detections.boxes
    np.testing.assert_allclose(boxes[1], [93, 40, 14, 8, 0], atol=1e-4)


def test_what_hardly_shows_is_missed() -> None:
    sliver = Window(x=108, y=0, width=20, height=100)
    assert len(oracle().view(sliver)) == 0
    assert len(oracle(visible=0.05).view(sliver)) == 1


def test_some_cut_copies_outscore_every_whole_view_and_some_do_not() -> None:
    many = np.column_stack(
        [np.full(200, 100.0), 20.0 * np.arange(200), np.full(200, 20.0), np.full(200, 8), np.zeros(200)]
    )
    detector = OracleDetector(boxes=many, class_ids=np.zeros(200, np.int64), card=oracle_card(many))
    cut = detector.view(Window(x=0, y=0, width=104, height=4000)).scores
    whole = detector.view(Window(x=0, y=0, width=200, height=4000)).scores
    assert 0.15 < np.mean(cut > whole) < 0.45
    assert cut[cut > whole].min() > whole.max()


def test_jitter_depends_on_the_view_and_stays_in_bounds() -> None:
    detector = oracle(jitter=Jitter(centre_px=1.0, size=0.05, angle_rad=0.03))
    views = [detector.view(Window(x=-k, y=0, width=300, height=200)).boxes for k in range(40)]
    assert len({view[0].tobytes() for view in views}) == 40
    for view in views:
        assert np.abs(view[:, :2] - TRUTH[:, :2]).max() <= 1.0 + 1e-4
        assert rotated_iou_pairs(view, TRUTH).min() > 0.3


def test_scores_below_the_threshold_are_not_answered() -> None:
    scores = oracle().view(WIDE).scores
    limit = float(np.median(scores))
    kept = oracle().detect([chip(WIDE)], score_threshold=limit)[0].detections.scores
    assert len(kept) == np.sum(scores >= limit) < len(scores)


def test_a_shrunk_chip_is_answered_in_its_own_pixels() -> None:
    full = oracle().detect([chip(WIDE)], score_threshold=0.0)[0].detections.boxes
    small = oracle().detect([chip(WIDE, shrink=2)], score_threshold=0.0)[0].detections.boxes
    np.testing.assert_allclose(small[:, :4] * 2, full[:, :4])


def test_no_objects_means_no_detections() -> None:
    nothing = OracleDetector(
        boxes=np.zeros((0, 5)), class_ids=np.zeros(0, np.int64), card=oracle_card(np.zeros((0, 5)))
    )
    assert len(untiled(nothing, NEAR)) == 0


box = st.tuples(st.floats(-20, 120), st.floats(-20, 120), st.floats(4, 80), st.floats(2, 40), st.floats(-1.57, 1.57))


@given(box)
def test_clipping_agrees_with_shapely_and_the_cut_box_lies_half_inside_its_object(row: tuple[float, ...]) -> None:
    """The merge drops a cut copy only when the whole box covers half of it: the oracle must never give another."""
    corners = obb_to_corners(np.array([row]))[0]
    part = clipped(corners, NEAR)
    expected = shapely.Polygon(corners).intersection(shapely.box(0, 0, 100, 100))
    area = shapely.Polygon(part).area if len(part) > 2 else 0.0
    assert abs(area - expected.area) < 1e-6
    if area < 1e-3:
        return
    around = shapely.Polygon(obb_to_corners(smallest_rectangle(part, row[4])[None])[0])
    assert around.buffer(1e-6).contains(expected)
    assert around.area <= expected.minimum_rotated_rectangle.area * (1 + 1e-6) + 1e-6
    # Three of four sides coincide up to rounding; without a grid GEOS may answer two points for such a pair.
    common = shapely.intersection(around, shapely.Polygon(corners), grid_size=1e-9)
    assert common.area >= 0.5 * around.area
