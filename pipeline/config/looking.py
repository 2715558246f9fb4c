"""Settings of looking: the detector, the second look, and how detections become one set."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.config.checks import RenamedSetting, require

Dtype = Literal["float32", "bfloat16", "float16"]
Runtime = Literal["auto", "torch", "onnx"]


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """How the detector is run."""

    score_threshold: float | None = None
    """Report detections with at least this score, 0 to 1. Default: the model card's."""
    precision: float | Dtype | None = None
    """In place of a score: report detections from the score on at which a single box is right with this probability,
    e.g. 0.8, by the calibration in the model card. (A number format, as once meant, is taken as detector.dtype.)"""
    batch: int = 4
    """Chips per forward pass. An out-of-memory error halves it, and the run record says so."""
    dtype: Dtype = "float32"
    """Arithmetic of the network; the 16-bit ones are for GPUs."""
    runtime: Runtime = "auto"
    """What runs the network: torch, or on CPUs onnx, ONNX Runtime, for detectors trained here. auto: the faster one
    that is installed."""
    flips: bool = False
    """Look at every chip four times, as it is and mirrored along x, y and both, and average: takes 4 times as long."""

    def __post_init__(self) -> None:
        if isinstance(self.precision, str):
            self._take_for_dtype(self.precision)
        require(
            self.score_threshold is None or 0 <= self.score_threshold <= 1, "detector.score_threshold must be in [0, 1]"
        )
        require(
            self.precision is None or 0 < float(self.precision) <= 1,
            "detector.precision must be above 0 and at most 1: the expected share of right boxes",
        )
        require(
            self.score_threshold is None or self.precision is None,
            "give detector.score_threshold or detector.precision (which picks that score), not both",
        )
        require(self.batch >= 1, "detector.batch must be at least 1")

    def _take_for_dtype(self, word: str) -> None:
        """What was given as ``precision`` in the sense of earlier versions; nobody's script is to break by it."""
        require(word in get_args(Dtype), "detector.precision must be a number above 0 and at most 1")
        require(
            self.dtype in ("float32", word),
            f"detector.precision={word} means detector.dtype, but that is given too, as {self.dtype}; leave it out",
        )
        warnings.warn(
            f"detector.precision={word} is taken as detector.dtype={word}, its name by now; detector.precision is the "
            "expected share of right boxes",
            RenamedSetting,
            stacklevel=4,
        )
        object.__setattr__(self, "dtype", word)
        object.__setattr__(self, "precision", None)


Selector = Literal[
    "none", "sae", "intensity", "entropy", "difference", "density", "small_box_density", "random", "uniform", "ours"
]


def one_look_factor(global_factor: float, budget: float) -> float:
    """What a single look is to be shrunk by, to show the network as many pixels as a look shrunk by ``global_factor``
    and crops of ``budget`` (a share of its pixels) together; 1 where that would be more than every pixel."""
    factor: float = global_factor / (1 + budget) ** 0.5
    return max(1.0, factor)


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """The second look: closer crops where the first look, shrunk by tiling.global_factor, was unsure.

    There is none at a tiling.global_factor of 1, where the first look has seen every pixel.
    """

    selector: Selector = "ours"
    """What the choice of crops goes by; ``none`` looks once. ``sae`` is the paper's score, ``ours`` the best found;
    ``difference`` is for detectors that reconstruct (SR-TOD)."""
    budget: float = 0.25
    """Pixels the crops of a block may cost the network, as a share of those of its global looks."""
    scales: tuple[float, ...] = (0.5,)
    """Sides of the crops, as shares of the picture the global look sees: one of 0.5 costs a quarter of a look."""
    zoom: float = 1.4
    """How much closer than the first look crops are shown, never beyond full resolution. Closer shows less ground."""
    gate: float = 0.0
    """Tiles whose attention has less entropy than this, 0 to 1, get no crops; the paper's gate is 0.7."""
    candidate_score: float = 0.05
    """Detections of the global look from this score on take part in choosing crops and in fusion."""
    match_iou: float = 0.4
    """A crop's box and a global box of one class are one object from this rotated IoU on."""
    score_rule: Literal["max", "published"] = "max"
    """Score of what both looks saw: the larger one, or (the paper's) 0.7 of the global and 0.3 of the crop's."""
    seed: int = 0
    """For the selector ``random``."""

    def __post_init__(self) -> None:
        require(0 <= self.budget <= 16, "refine.budget must be in [0, 16]")
        require(
            len(self.scales) > 0 and all(0 < scale <= 16 for scale in self.scales), "refine.scales must lie in (0, 16]"
        )
        require(1 < self.zoom <= 64, "refine.zoom must be in (1, 64]")
        require(0 <= self.gate <= 1, "refine.gate must be in [0, 1]")
        require(0 <= self.candidate_score <= 1, "refine.candidate_score must be in [0, 1]")
        require(0 < self.match_iou <= 1, "refine.match_iou must be in (0, 1]")

    def crop_factor(self, global_factor: float) -> float:
        """What crops are shrunk by, when the global look shrinks tiles by ``global_factor``."""
        return max(1.0, global_factor / self.zoom)

    def applies(self, global_factor: float) -> bool:
        """Whether there is a second look at tiles that the first saw shrunk by ``global_factor``."""
        return global_factor > 1 and self.selector != "none" and self.budget > 0


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """How the detections of all tiles become one set."""

    iou_threshold: float = 0.3
    """Of two boxes of one class that overlap by more than this rotated IoU, the better stays. 0 to 1."""
    class_groups: tuple[tuple[str, ...], ...] = ()
    """Names of classes that suppress each other as if they were one, e.g. '[[car, truck]]'."""

    def __post_init__(self) -> None:
        require(0 < self.iou_threshold <= 1, "merge.iou_threshold must be in (0, 1]")
        names = [name for group in self.class_groups for name in group]
        require(len(names) == len(set(names)), "merge.class_groups: a class may stand in one group only")
