"""The detector that knows the truth keeps what every detector promises; it looks at no pixels, so bands are its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from pipeline.detectors.protocol import Detector
from pipeline.synth.oracle import Jitter, OracleDetector, oracle_card
from tests.contracts.detector import DetectorContract

TRUTH = np.array([[20.0, 30, 30, 10, 0.3], [48.0, 40, 24, 8, 0.0], [50, 90, 40, 12, -1.2], [20.3, 20.7, 8, 4, 1.0]])


class TestOracle(DetectorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def loader(cls) -> Callable[[], Detector]:
        jitter = Jitter(centre_px=1, size=0.1, angle_rad=0.1, score=0.05)
        return partial(OracleDetector, TRUTH, np.zeros(4, np.int64), card=oracle_card(TRUTH), jitter=jitter)
