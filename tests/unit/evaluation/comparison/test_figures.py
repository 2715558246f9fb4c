"""Ways of looking, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.annotations.annotations import Annotations
from pipeline.evaluation.comparison.figures import Judging, compare
from pipeline.evaluation.comparison.measuring import Measurement
from pipeline.evaluation.comparison.strategies import Strategy
from pipeline.types import Detections, Frame
from tests.support.judging import LATTICE, base, noisy


class TestComparison:
    def test_a_strategy_differs_from_itself_by_nothing_and_from_a_worse_one_surely(self) -> None:
        generator = np.random.default_rng(8)
        scenes = [noisy(generator, 15) for _ in range(50)]
        annotations = [replace(a, ignore=np.zeros(len(a), np.bool_)) for _, a in scenes]
        some = [found_of(d) for d, _ in scenes]
        more = [found_of(replace_boxes(d, a)) for d, a in zip(some, annotations, strict=True)]
        measured = {"global": measurements(some), "ours@1": measurements(more), "sae@1": measurements(some)}
        strategies = [Strategy(kind="global", config=base())]
        strategies += [Strategy(kind=kind, budget=1.0, config=base()) for kind in ("ours", "sae")]
        report = compare(
            strategies, measured, annotations, Judging(classes=("a", "b"), score_threshold=0.3, resamples=200)
        )
        rows = report["strategies"]
        assert rows["sae@1"]["differences"]["global"] == {"ap50": 0.0, "interval": [0.0, 0.0]}
        better = rows["ours@1"]["differences"]["global"]
        assert 0 < better["interval"][0] < better["ap50"] < better["interval"][1]
        assert rows["global"]["differences"] == {}


def found_of(detections: Detections) -> Detections:
    return replace(detections, frame=Frame.SCENE)


def replace_boxes(detections: Detections, annotations: Annotations) -> Detections:
    """The detections, and every annotated object on top, surest of all."""
    sure = Detections(annotations.boxes, np.ones(len(annotations)), annotations.class_ids, detections.frame)
    return Detections.concat([detections, sure], detections.frame)


def measurements(detections: Sequence[Detections]) -> list[Measurement]:
    costs = {"seconds": 0.1, "cpu_seconds": 0.1, "network_px": 100, "crops": 0, "tiles": 1, "tiles_refined": 0}
    return [
        Measurement(detections=one, failed=0, seam_px=np.full(15, np.inf), lattice=LATTICE, **costs)
        for one in detections
    ]
