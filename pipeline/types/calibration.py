"""What a score is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.types.arrays import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Which share of single boxes of a score is right, as measured on scenes that were not trained on.

    A line through the points (score, share), level beyond its ends; it never falls. All classes share it.
    """

    method: str
    """How the line was fitted, in words."""
    scores: tuple[float, ...]
    """Strictly ascending, in [0, 1]."""
    precision: tuple[float, ...]
    """Expected share of right boxes at each of ``scores``, never falling, in [0, 1]."""
    boxes: int
    """Detections that it was fitted to; those that only ignore regions excuse are not among them."""
    iou: float
    """Rotated IoU with an annotation from which on a box is right."""
    scenes: tuple[str, ...]
    """Names of the scenes that the boxes are of."""
    flips: bool = False
    """Whether the detector looked at mirrored copies too (``detector.flips``): its scores are others then."""
    ece_before: float
    """Expected calibration error of the scores as they are."""
    ece_after: float | None
    """The same of the calibrated scores, every scene judged by a line fitted to the others; None of one scene alone."""

    def expected(self, scores: FloatArray) -> FloatArray:
        """(N,) expected share of right boxes among boxes of each score (N,)."""
        shares: FloatArray = np.interp(scores, self.scores, self.precision)
        return shares

    def score_at(self, precision: float) -> float | None:
        """The lowest score at which a box is expected to be right with at least that share; None where none is."""
        shares = np.array(self.precision)
        if precision > shares[-1]:
            return None
        above = int(np.argmax(shares >= precision))
        if above == 0:
            return 0.0  # level below the first point: every box is expected to be as good
        low, high = self.scores[above - 1], self.scores[above]
        step = (precision - shares[above - 1]) / (shares[above] - shares[above - 1])
        score = min(low + step * (high - low), high)
        while self.expected(np.array([score]))[0] < precision:  # the last bit of the interpolation
            score = float(np.nextafter(score, 1.0))
        return float(score)
