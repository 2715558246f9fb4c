"""What every detector promises (``pipeline/detectors/protocol.py``), whatever finds the objects."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.detectors.attention import CELL_PX
from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.detectors.protocol import Detector
from pipeline.errors import ModelError
from pipeline.geometry.obb import canonical_obb
from pipeline.types import Chip, Frame, Look, Window

SIZES = ((64, 64), (50, 71), (1, 1), (8, 9), (97, 40))
"""Rows and columns: whole strides, odd ones, hardly anything, wide and tall."""


def make_chip(size: tuple[int, int], bands: int = 3, seed: int = 0, x: int = 0) -> Chip:
    """Noise of that many rows and columns, at column ``x`` of the lattice."""
    pixels = np.random.default_rng([seed, *size]).integers(0, 256, (*size, bands), np.uint8)
    return Chip(pixels=pixels, window=Window(x=x, y=0, width=size[1], height=size[0]))


def assert_equal(looks: Sequence[Look], others: Sequence[Look]) -> None:
    """The same answers, bit for bit."""
    for ours, theirs in zip(looks, others, strict=True):
        for name in ("boxes", "scores", "class_ids"):
            np.testing.assert_array_equal(getattr(ours.detections, name), getattr(theirs.detections, name))
        assert (ours.attention is None) == (theirs.attention is None)
        if ours.attention is not None and theirs.attention is not None:
            np.testing.assert_array_equal(ours.attention.mass, theirs.attention.mass)
            assert ours.attention.outside == theirs.attention.outside
        assert (ours.difference is None) == (theirs.difference is None)
        if ours.difference is not None and theirs.difference is not None:
            np.testing.assert_array_equal(ours.difference.values, theirs.difference.values)


class DetectorContract:
    """Subclass it as ``Test…`` and give the fixture ``loader``; ``chips`` may be given too."""

    @pytest.fixture(scope="class")
    @classmethod
    def loader(cls) -> Callable[[], Detector]:
        """What a worker gets: picklable, and makes the detector. It finds something in one of ``chips`` at least."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def detector(cls, loader: Callable[[], Detector]) -> Detector:
        return loader()

    @pytest.fixture
    def chips(self, detector: Detector) -> list[Chip]:
        """A batch of unlike sizes, with as many bands as the card says."""
        return [make_chip(size, len(detector.card.bands)) for size in SIZES]

    def test_it_is_a_detector(self, detector: Detector) -> None:
        assert isinstance(detector, Detector)

    def test_each_chip_gets_its_own_look_in_order(self, detector: Detector, chips: list[Chip]) -> None:
        """A batch of one chip twice: both looks are of that chip. None for no chips."""
        assert detector.detect([], score_threshold=0.0) == []
        assert len(detector.detect(chips, score_threshold=0.0)) == len(chips)
        for chip in chips[:2]:
            (alone,) = detector.detect([chip], score_threshold=0.0)
            for look in detector.detect([chip] * 2, score_threshold=0.0):
                assert len(look.detections) == len(alone.detections)
                np.testing.assert_allclose(look.detections.scores, alone.detections.scores, atol=1e-4)

    def test_the_order_of_a_batch_is_that_of_its_answers_and_changes_none(
        self, detector: Detector, chips: list[Chip]
    ) -> None:
        """Up to rounding: a kernel may sum a batch's rows in another way."""
        looks = detector.detect(chips, score_threshold=0.0)
        backwards = detector.detect(chips[::-1], score_threshold=0.0)[::-1]
        for ours, theirs in zip(looks, backwards, strict=True):
            assert len(ours.detections) == len(theirs.detections)
            np.testing.assert_allclose(ours.detections.scores, theirs.detections.scores, atol=1e-4)

    def test_boxes_are_canonical_and_have_their_centres_inside_the_chip(
        self, detector: Detector, chips: list[Chip]
    ) -> None:
        looks = detector.detect(chips, score_threshold=0.0)
        assert sum(len(look.detections) for look in looks) > 0, "nothing found proves nothing"
        for look, chip in zip(looks, chips, strict=True):
            found, (height, width) = look.detections, chip.pixels.shape[:2]
            assert found.frame == Frame.CHIP
            assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float64, np.float64, np.int64)
            assert np.isfinite(found.boxes).all()
            assert (found.boxes[:, 2] >= found.boxes[:, 3]).all()
            assert (found.boxes[:, 3] > 0).all()
            assert ((found.boxes[:, 4] >= -np.pi / 2) & (found.boxes[:, 4] < np.pi / 2)).all()
            np.testing.assert_allclose(canonical_obb(found.boxes), found.boxes, atol=1e-9)
            assert ((found.boxes[:, :2] >= 0) & (found.boxes[:, :2] <= (width, height))).all()
            assert ((found.class_ids >= 0) & (found.class_ids < len(detector.card.classes))).all()
            if not detector.card.oriented:
                assert np.isin(found.boxes[:, 4], (0.0, -np.pi / 2)).all()

    def test_scores_lie_between_the_threshold_and_one(self, detector: Detector, chips: list[Chip]) -> None:
        """And the threshold takes away what is below it, and nothing else."""
        everything = detector.detect(chips, score_threshold=0.0)
        every = np.concatenate([look.detections.scores for look in everything])
        assert ((every >= 0) & (every <= 1)).all()
        threshold = float(np.median(every))
        for look, whole in zip(detector.detect(chips, score_threshold=threshold), everything, strict=True):
            kept = whole.detections[whole.detections.scores >= threshold]
            np.testing.assert_array_equal(look.detections.boxes, kept.boxes)
            np.testing.assert_array_equal(look.detections.scores, kept.scores)

    def test_the_same_chips_get_the_same_answers(self, detector: Detector, chips: list[Chip]) -> None:
        """Also after others were looked at: it keeps nothing between calls."""
        first = detector.detect(chips, score_threshold=0.0, attention=True)
        detector.detect(chips[:1], score_threshold=0.9)
        assert_equal(detector.detect(chips, score_threshold=0.0, attention=True), first)

    def test_an_attention_map_spans_its_chip_or_is_none(self, detector: Detector, chips: list[Chip]) -> None:
        """One way or the other for all; not asked for, there is none, and the detections are the same."""
        looks = detector.detect(chips, score_threshold=0.0, attention=True)
        plain = detector.detect(chips, score_threshold=0.0)
        assert all(look.attention is None for look in plain)
        assert_equal([replace(look, attention=None) for look in looks], plain)
        assert len({look.attention is None for look in looks}) == 1
        for look, chip in zip(looks, chips, strict=True):
            if look.attention is not None:
                height, width = chip.pixels.shape[:2]
                assert look.attention.mass.shape == (-(-height // CELL_PX), -(-width // CELL_PX))
                assert (look.attention.mass >= 0).all()
                assert look.attention.mass.sum() + look.attention.outside == pytest.approx(1)

    def test_a_difference_map_spans_its_chip_or_is_none(self, detector: Detector, chips: list[Chip]) -> None:
        """One way or the other for all, asked for attention or not; and the padding of a batch is in no map."""
        looks = detector.detect(chips, score_threshold=0.0)
        assert len({look.difference is None for look in looks}) == 1
        for look, chip in zip(looks, chips, strict=True):
            (alone,) = detector.detect([chip], score_threshold=0.0, attention=True)
            assert (alone.difference is None) == (look.difference is None)
            if look.difference is not None and alone.difference is not None:
                height, width = chip.pixels.shape[:2]
                assert look.difference.values.shape == (-(-height // CELL_PX), -(-width // CELL_PX))
                assert look.difference.values.dtype == np.float64
                assert ((look.difference.values >= 0) & (look.difference.values <= 1)).all()

    def test_its_loader_can_be_sent_to_a_worker(
        self, loader: Callable[[], Detector], detector: Detector, chips: list[Chip]
    ) -> None:
        """What arrives makes the same detector: same card, same answers."""
        arrived = pickle.loads(pickle.dumps(loader))()
        assert arrived.card == detector.card
        assert_equal(arrived.detect(chips, score_threshold=0.0), detector.detect(chips, score_threshold=0.0))


class CheckpointContract(DetectorContract):
    """Of a detector whose weights lie in a folder: give the fixture ``folder``, and ``loader`` is there."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls) -> Path:
        """A checkpoint folder as ``load_detector`` takes it."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def loader(cls, folder: Path) -> Callable[[], Detector]:
        return Loader(folder)

    def test_its_card_is_what_the_folder_says_without_the_network(self, detector: Detector, folder: Path) -> None:
        assert read_model_card(folder) == detector.card

    @pytest.mark.parametrize("difference", [-1, 1])
    def test_another_number_of_bands_is_refused_in_one_sentence(self, detector: Detector, difference: int) -> None:
        """Among good chips too; how many bands there should be, and how many there are, is said."""
        bands = len(detector.card.bands)
        chips = [make_chip((64, 64), bands), make_chip((64, 64), bands + difference)]
        with pytest.raises(ModelError, match=f"{bands} bands.* chip has {bands + difference}") as caught:
            detector.detect(chips, score_threshold=0.0)
        assert "\n" not in str(caught.value)
        assert len(detector.detect(chips[:1], score_threshold=0.0)) == 1


class Loader:
    """``load_detector`` of one folder, on the processor, as an executor sends it to its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> Detector:
        return load_detector(self.folder, device="cpu")
