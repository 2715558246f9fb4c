"""What is exported here is read here, and answers as the detector that it was made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.detectors.loading import load_detector
from pipeline.detectors.onnx_file import onnx_file, write_onnx
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_fcos.running import runnable as runnable_fcos
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.oriented_rtdetr.running import runnable as runnable_rtdetr
from pipeline.detectors.passes import Runnable
from pipeline.detectors.protocol import Detector
from pipeline.geometry.obb import obb_to_corners
from tests.contracts.detector import make_chip
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.oriented import CARD, small_network

DRAWING = replace(SMALL_FCOS, reconstruction="learnable")
MADE: dict[str, tuple[Callable[[], Runnable], Callable[[], Detector], str]] = {
    "kestrel-rtdetr": (
        lambda: runnable_rtdetr(small_network()), lambda: OrientedDetector(small_network(), CARD),
        "an oriented RT-DETR of ours",
    ),
    "kestrel-fcos": (  # reconstructing, so it has to know padding from picture
        lambda: runnable_fcos(small_fcos(DRAWING)), lambda: OrientedFCOSDetector(small_fcos(DRAWING), CARD),
        "an oriented FCOS of ours",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", MADE)
def test_it_is_read_with_its_card_and_answers_alike(layout: str, tmp_path: Path) -> None:
    """Of scores that are equal but for rounding either box may come first."""
    runnable, original, title = MADE[layout]
    card = replace(CARD, licence="CC0-1.0", gsd_m=0.3)
    detector = load_detector(write_onnx(tmp_path, onnx_file(runnable(), card, "kestrel_any")), threads=1)
    assert title in str(detector.card.described)
    assert replace(detector.card, runtime=None, described=None, sha256=card.sha256) == card
    looks = (one.detect([make_chip((50, 71))], score_threshold=0.0)[0] for one in (detector, original()))
    ours, torchs = (look.detections for look in looks)
    assert len(ours) == len(torchs) > 5
    np.testing.assert_allclose(ours.scores, torchs.scores, atol=1e-4)
    corners, theirs = obb_to_corners(ours.boxes)[:, None], obb_to_corners(torchs.boxes)[None]
    # A square may be said with either side first, a quarter turn apart: the corners are the same, counted on.
    apart = np.min([np.abs(corners - np.roll(theirs, turn, 2)).max(axis=(2, 3)) for turn in range(4)], axis=0)
    assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 1e-2
