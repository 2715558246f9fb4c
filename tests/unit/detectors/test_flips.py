"""Four looks at a chip: whatever looks, a mirrored chip gives mirrored boxes, and what was agreed on is one box."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.flips import MOST_BOXES, SAME_IOU, VIEWS, Flipping, merge_views
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_fcos.folder import save_network as save_fcos
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.protocol import Detector
from pipeline.detectors.weights import load
from pipeline.geometry.nms import total_order
from pipeline.geometry.obb import canonical_obb, mirrored
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.synth.harbour.harbour import Harbour
from pipeline.synth.oracle import OracleDetector, oracle_card
from pipeline.types import Chip, Detections, Frame, Look, Window
from tests.contracts.detector import DetectorContract, make_chip
from tests.support.checkpoints import save_checkpoint
from tests.support.fcos import small_fcos
from tests.support.oriented import CARD, small_network

TRUTH = np.array(
    [[50.0, 50, 30, 10, 0.3], [20.0, 80, 24, 8, -math.pi / 2], [70, 20, 12, 12, 0.0], [30, 20, 9, 4, -1.2]]
)
SIDE_PX = 160


class Eyes:
    """Loads a detector from a folder, and looks with it four times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> Detector:
        return Flipping(load_detector(self.folder, device="cpu"))


class TestOrientedFourTimes(DetectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def loader(cls, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Detector]:
        folder = tmp_path_factory.mktemp("oriented")
        save_network(folder, small_network())
        write_card(folder, replace(CARD, sha256=weights_sha256(folder)))
        return Eyes(folder)


class TestFCOSFourTimes(DetectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def loader(cls, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Detector]:
        folder = tmp_path_factory.mktemp("fcos")
        save_fcos(folder, small_fcos())
        write_card(folder, replace(CARD, sha256=weights_sha256(folder)))
        return Eyes(folder)


class TestHorizontalFourTimes(DetectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def loader(cls, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Detector]:
        return Eyes(save_checkpoint("detr", tmp_path_factory.mktemp("detr")))


class TestOracleFourTimes(DetectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def loader(cls) -> Callable[[], Detector]:
        return partial(Flipping, OracleDetector(TRUTH, np.zeros(4, np.int64), card=oracle_card(TRUTH)))


def harbour_chip(side: int = SIDE_PX) -> Chip:
    """A harbour at its busiest, stretched to 8 bit."""
    harbour = Harbour(seed=20_000_008, width=360, height=360)
    ships = harbour.ships().boxes
    x, y = (int(np.clip(np.median(ships[:, axis]) - side / 2, 0, 360 - side)) for axis in (0, 1))
    window = Window(x=x, y=y, width=side, height=side)
    pixels = np.clip(harbour.render(window).astype(np.float64) / 12, 0, 255).astype(np.uint8)
    return Chip(pixels=pixels, window=window)


def seen_in_mirror(chip: Chip, axes: tuple[bool, bool]) -> Chip:
    along_x, along_y = axes
    pixels = chip.pixels[:: -1 if along_y else 1, :: -1 if along_x else 1].copy()
    return replace(chip, pixels=pixels, mirrored=axes)


@pytest.mark.parametrize("axes", VIEWS)
def test_the_oracle_sees_a_mirrored_chip_mirrored(axes: tuple[bool, bool]) -> None:
    """Corner by corner, and not by the function that does it."""
    from pipeline.geometry.obb import obb_to_corners

    oracle = OracleDetector(TRUTH, card=oracle_card(TRUTH))
    chip = Chip(pixels=np.zeros((90, 100, 3), np.uint8), window=Window(x=0, y=0, width=100, height=90))
    (plain,), (seen,) = (oracle.detect([one], score_threshold=0.0) for one in (chip, seen_in_mirror(chip, axes)))
    corners = obb_to_corners(plain.detections.boxes)
    sizes = np.array([100.0, 90.0])
    expected = np.where(axes, sizes - corners, corners)
    for mine, theirs in zip(expected, obb_to_corners(seen.detections.boxes), strict=True):
        assert_same_points(mine, theirs)
    assert len(plain.detections) == 4


def assert_same_points(a: np.ndarray, b: np.ndarray) -> None:
    order = [np.lexsort(np.round(points, 6).T) for points in (a, b)]
    np.testing.assert_allclose(a[order[0]], b[order[1]], atol=1e-9)


@pytest.mark.parametrize("axes", VIEWS)
def test_mirroring_twice_is_nothing_to_the_last_bit_and_upright_stays_upright(axes: tuple[bool, bool]) -> None:
    boxes = canonical_obb(np.round(TRUTH * 64) / 64)
    boxes = np.concatenate([boxes, [[1.5, 2.5, 3.0, 1.0, -math.pi / 2]]])
    once = mirrored(boxes, axes, width=100, height=90)
    np.testing.assert_array_equal(mirrored(once, axes, width=100, height=90), boxes)
    np.testing.assert_allclose(canonical_obb(once), once, atol=1e-15)
    assert once[-1, 4] == -math.pi / 2


@pytest.fixture(scope="module")
def embedded() -> Detector:
    return load("builtin:ships-s2", "cpu")


@pytest.mark.parametrize("axes", VIEWS[1:])
def test_the_embedded_detector_sees_a_mirrored_harbour_mirrored(embedded: Detector, axes: tuple[bool, bool]) -> None:
    """One look does not; of four looks they are the same four, in another order. Its attention too."""
    eye, chip = Flipping(embedded), harbour_chip()
    (plain,) = eye.detect([chip], score_threshold=0.15, attention=True)
    (seen,) = eye.detect([seen_in_mirror(chip, axes)], score_threshold=0.15, attention=True)
    back = mirrored(seen.detections.boxes, axes, width=SIDE_PX, height=SIDE_PX)
    assert len(plain.detections) == len(seen.detections) > 5
    np.testing.assert_allclose(seen.detections.scores, plain.detections.scores, atol=1e-5)
    assert (rotated_iou_pairs(back, plain.detections.boxes) > 0.999).all()
    assert plain.attention is not None
    assert seen.attention is not None
    along_x, along_y = axes
    turned = seen.attention.mass[:: -1 if along_y else 1, :: -1 if along_x else 1]
    np.testing.assert_allclose(turned, plain.attention.mass, atol=1e-7)
    single = [embedded.detect([one], score_threshold=0.15)[0].detections for one in (chip, seen_in_mirror(chip, axes))]
    assert len(single[0]) != len(single[1]) or not np.allclose(single[0].scores, single[1].scores, atol=1e-3)


@pytest.mark.parametrize("axes", VIEWS[1:])
def test_what_could_not_be_drawn_again_is_mirrored_with_the_chip(axes: tuple[bool, bool]) -> None:
    """The mean of four difference maps; sides that are no multiples of a cell."""
    eye = Flipping(OrientedDetector(small_network(reconstruction="learnable"), CARD))
    chip = make_chip((50, 71))
    maps = [eye.detect([one], score_threshold=0.9)[0].difference for one in (chip, seen_in_mirror(chip, axes))]
    assert maps[0] is not None
    assert maps[1] is not None
    along_x, along_y = axes
    turned = maps[1].values[:: -1 if along_y else 1, :: -1 if along_x else 1]
    np.testing.assert_allclose(turned, maps[0].values, atol=1e-6)
    assert np.ptp(maps[0].values) > 1e-3


def test_four_looks_ask_the_network_four_times_and_never_with_more_chips() -> None:
    """So what fits into memory with one look fits with four."""
    asked: list[tuple[int, tuple[bool, bool]]] = []

    class Counting:
        card = oracle_card(TRUTH)

        def detect(self, chips, *, score_threshold, attention=False):  # type: ignore[no-untyped-def]
            asked.append((len(chips), chips[0].mirrored))
            return OracleDetector(TRUTH, card=self.card).detect(chips, score_threshold=score_threshold)

    chips = [make_chip((90, 100)), make_chip((80, 70))]
    assert len(Flipping(Counting()).detect(chips, score_threshold=0.0)) == 2
    assert asked == [(2, axes) for axes in VIEWS]


def test_what_all_four_looks_see_alike_stays_as_it_is() -> None:
    oracle = OracleDetector(TRUTH, card=oracle_card(TRUTH))
    chip = Chip(pixels=np.zeros((90, 100, 3), np.uint8), window=Window(x=0, y=0, width=100, height=90))
    (one,), (four,) = (eye.detect([chip], score_threshold=0.0) for eye in (oracle, Flipping(oracle)))
    ranked = one.detections[total_order(one.detections)]
    np.testing.assert_allclose(four.detections.boxes, ranked.boxes, atol=1e-9)
    np.testing.assert_allclose(four.detections.scores, ranked.scores)
    assert four.attention is None


def rows(*boxes: tuple[float, float, float, float, float]) -> np.ndarray:
    return np.array(boxes, np.float64).reshape(-1, 5)


def merged(boxes: np.ndarray, scores: list[float], view: list[int], classes: list[int] | None = None) -> Detections:
    labels = np.array(classes or [0] * len(boxes), np.int64)
    found = Detections(canonical_obb(boxes), np.array(scores), labels, Frame.CHIP)
    order = total_order(found)
    return merge_views(found[order], np.array(view, np.int64)[order])


class TestMerging:
    def test_the_score_is_the_mean_over_all_four_looks_and_the_box_that_of_those_who_saw_it(self) -> None:
        out = merged(rows((10, 20, 8, 4, 0.1), (12, 20, 9, 4, 0.2)), [0.6, 0.2], [0, 2])
        assert out.scores.tolist() == pytest.approx([0.2])
        np.testing.assert_allclose(out.boxes, [[10.5, 20, 8.25, 4, 0.125]])

    def test_a_look_gives_one_box_to_a_group_and_its_second_stays(self) -> None:
        """Of two boxes of one look that overlap the first by enough, the one that overlaps more is the same object."""
        out = merged(rows((10, 20, 8, 4, 0), (11, 20, 8, 4, 0), (10.1, 20, 8, 4, 0)), [0.8, 0.4, 0.2], [0, 1, 1])
        np.testing.assert_allclose(out.scores, [0.25, 0.1])
        np.testing.assert_allclose(out.boxes[:, 0], [10.02, 11.0])

    def test_classes_and_places_do_not_mix(self) -> None:
        boxes = rows((10, 20, 8, 4, 0), (10, 20, 8, 4, 0), (60, 20, 8, 4, 0))
        out = merged(boxes, [0.8, 0.8, 0.4], [0, 1, 2], [0, 1, 0])
        np.testing.assert_allclose(out.scores, [0.2, 0.2, 0.1])

    def test_less_overlap_is_two_objects(self) -> None:
        for shift, count in ((2.6, 1), (2.7, 2)):  # of a length of 8: IoU (8 - s) / (8 + s), 0.509 and 0.495
            assert (8 - shift) / (8 + shift) == pytest.approx(SAME_IOU, abs=0.01)
            assert len(merged(rows((10, 20, 8, 4, 0), (10 + shift, 20, 8, 4, 0)), [0.8, 0.4], [0, 1])) == count

    def test_upright_boxes_lean_to_either_side_of_upright(self) -> None:
        """Angles of 89° and of -89° are two degrees apart."""
        lean = math.radians(1)
        out = merged(rows((10, 20, 8, 3, math.pi / 2 - lean), (10, 20, 8, 3, lean - math.pi / 2)), [0.5, 0.5], [0, 1])
        assert len(out) == 1
        assert abs(out.boxes[0, 4]) == pytest.approx(math.pi / 2, abs=1e-9)
        np.testing.assert_allclose(out.boxes[0, 2:4], [8, 3])

    def test_nearly_square_boxes_may_call_the_other_side_their_length(self) -> None:
        out = merged(rows((10, 20, 8.2, 8, 0.1), (10, 20, 8, 8.2, 0.1)), [0.5, 0.5], [0, 1])
        np.testing.assert_allclose(out.boxes, [[10, 20, 8.1, 8.1, out.boxes[0, 4]]])
        assert math.remainder(out.boxes[0, 4] - 0.1, math.pi / 2) == pytest.approx(0, abs=1e-9)

    def test_nothing_is_nothing_and_scores_of_nothing_do_not_divide_by_it(self) -> None:
        assert len(merged(rows(), [], [])) == 0
        out = merged(rows((10, 20, 8, 4, 0), (11, 20, 8, 4, 0)), [0.0, 0.0], [0, 1])
        np.testing.assert_allclose(out.boxes, [[10.5, 20, 8, 4, 0]])

    def test_many_boxes_are_merged_as_a_plain_loop_would(self) -> None:
        generator = np.random.default_rng(5)
        objects = np.column_stack([generator.uniform(0, 200, (150, 2)), generator.uniform(6, 20, (150, 3))])
        parts = [objects + generator.normal(0, 0.6, objects.shape) for _ in VIEWS]
        boxes = canonical_obb(np.abs(np.concatenate(parts)))
        view = np.repeat(np.arange(4), 150)
        labels, scores = np.tile(generator.integers(0, 2, 150), 4), generator.uniform(size=600)
        found = Detections(boxes, scores, labels, Frame.CHIP)
        order = total_order(found)
        out, expected = merge_views(found[order], view[order]), plain(found[order], view[order])
        assert 150 < len(out) < 600
        np.testing.assert_allclose(np.sort(out.scores), np.sort(expected))


def plain(ranked: Detections, view: np.ndarray) -> list[float]:
    """Scores of all groups, by the sentences of the module and nothing else."""
    free, scores = list(range(len(ranked))), []
    while free:
        first = free.pop(0)
        total = ranked.scores[first]
        for look in set(range(4)) - {int(view[first])}:
            rivals = [row for row in free if view[row] == look and ranked.class_ids[row] == ranked.class_ids[first]]
            overlap = {row: rotated_iou_pairs(ranked.boxes[first][None], ranked.boxes[row][None])[0] for row in rivals}
            best = max(overlap, key=lambda row: (overlap[row], -row), default=None)
            if best is not None and overlap[best] >= SAME_IOU:
                free.remove(best)
                total += ranked.scores[best]
        scores.append(total / 4)
    return scores


def test_a_head_that_says_something_of_every_point_costs_no_more_than_its_best_boxes() -> None:
    """And of those that take part none is lost: the best of four looks stay, whoever else is there."""

    class Dense:
        card = CARD

        def detect(self, chips, *, score_threshold, attention=False):  # type: ignore[no-untyped-def]
            x, y = np.meshgrid(np.arange(4, 500, 4.0), np.arange(4, 500, 4.0))
            boxes = np.column_stack([x.ravel(), y.ravel(), *np.full((3, x.size), 3.0)])
            boxes[:, 4] = 0.0
            scores = np.linspace(0.9, 0.1, len(boxes))
            return [Look(Detections(boxes, scores, np.zeros(len(boxes), np.int64), Frame.CHIP)) for _ in chips]

    (look,) = Flipping(Dense()).detect([make_chip((504, 504))], score_threshold=0.0)
    assert MOST_BOXES <= len(look.detections) <= 4 * MOST_BOXES
    # The best row lies on itself mirrored along x, and on the worst, of which nothing took part, mirrored along y.
    assert look.detections.scores.max() == pytest.approx(0.9 / 2, rel=0.01)
