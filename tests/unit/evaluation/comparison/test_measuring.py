"""What a way of looking finds and costs, measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import RefineConfig
from pipeline.engine.block import BlockPixels, read_block
from pipeline.evaluation.average_precision import (
    average_precision,
)
from pipeline.evaluation.comparison.figures import Judging, compare
from pipeline.evaluation.comparison.measuring import Measurement, View, look, measure
from pipeline.evaluation.comparison.strategies import Strategy, make_strategies
from pipeline.evaluation.data import EvaluationData
from pipeline.planning.plan import WorkOrder
from pipeline.synth.oracle import OracleDetector, oracle_card
from pipeline.types import Block, Chip, Frame, Look, ModelCard, Window
from tests.support.judging import base, truth


@dataclass(frozen=True, slots=True, eq=False)
class ShortSighted:
    """Sees the true objects that are at least so many chip pixels wide, and nothing else."""

    eye: OracleDetector
    least_px: float
    card: ModelCard

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        looks = [look.detections for look in self.eye.detect(chips, score_threshold=score_threshold)]
        return [Look(seen[seen.boxes[:, 3] >= self.least_px]) for seen in looks]


class TestMeasuring:
    """The product's own path on real files, with a detector whose eyesight is known."""

    big = np.array([[60.0, 60, 60, 30, 0.2], [380, 300, 70, 30, 1.0]])
    small = np.array(
        [[200.0, 60, 20, 10, 0.4], [220, 80, 20, 10, -0.4], [400, 90, 24, 10, 0.9], [90, 330, 20, 10, 0.0]]
    )

    def measured(
        self, folder: Path, kinds: Sequence[str], budget: float
    ) -> tuple[list[Strategy], dict[str, Measurement]]:
        boxes = np.concatenate([self.big, self.small])
        Image.fromarray(np.full((384, 512), 90, np.uint8)).save(folder / "grey.jpg")
        card = replace(oracle_card(boxes, ("plane", "bird")), input_px=256)
        detector = ShortSighted(
            OracleDetector(boxes, card=card, bounds=Window(x=0, y=0, width=512, height=384)), 8.0, card
        )
        data = EvaluationData(
            classes=("plane",), truth={"grey.jpg": truth(boxes)}, images={"grey.jpg": folder / "grey.jpg"}
        )
        config = base(tile_px=512)
        config = replace(config, refine=RefineConfig(zoom=2.0))
        strategies = make_strategies(kinds, (budget,), config, card)
        results = measure(strategies, data, lambda _: detector)
        return strategies, {name: one for _, name, one in results}

    def test_each_way_of_looking_finds_what_it_can_and_costs_what_it_must(self, tmp_path: Path) -> None:
        """Small objects are seen at full resolution only; crops of 128 x 96 cost a quarter of the 256 x 192 look."""
        kinds = ("global", "oracle", "uniform", "random", "exhaustive", "larger")
        strategies, one = self.measured(tmp_path, kinds, 0.75)
        boxes = np.concatenate([self.big, self.small])
        recall = {name: average_precision([m.detections], [truth(boxes)]) for name, m in one.items()}
        assert recall["global"] == pytest.approx(2 / 6)
        assert recall["oracle@0.75"] == pytest.approx(1.0), "three windows hold all four"
        assert recall["exhaustive"] == recall["larger@3"] == pytest.approx(1.0)
        assert recall["uniform@0.75"] < 1
        assert one["global"].network_px == 256 * 192
        assert one["oracle@0.75"].network_px == 256 * 192 + 3 * 128 * 96
        assert (one["oracle@0.75"].crops, one["oracle@0.75"].tiles_refined, one["global"].crops) == (3, 1, 0)
        assert one["larger@3"].network_px == 512 * 384
        assert one["exhaustive"].network_px == 6 * 224 * 224
        assert one["larger@0.75"].network_px == pytest.approx(1.75 * 256 * 192, rel=0.01)
        assert all(m.seconds > 0 and m.detections.frame == Frame.SCENE for m in one.values())
        assert np.isinf(one["global"].seam_px).all(), "one tile has no seam"
        judging = Judging(classes=("plane",), score_threshold=0.3, resamples=50, baselines=("global", "uniform"))
        report = compare(strategies, {name: [m] for name, m in one.items()}, [truth(boxes)], judging)
        rows = report["strategies"]
        assert rows["random@0.75"]["seeds"] == 3
        assert rows["random@0.75"]["ap50"] == pytest.approx(np.mean(rows["random@0.75"]["ap50_seeds"]))
        assert rows["oracle@0.75"]["differences"]["uniform@0.75"]["ap50"] > 0
        reading = report["readings"]["oracle@0.75"]
        assert (reading["gap_closed"], reading["share_of_exhaustive_ap50"]) == (1.0, 1.0)
        assert rows["exhaustive"]["ap50_tiny"] == 1
        assert rows["global"]["ap50_tiny"] == 0
        assert rows["global"]["false_positives_per_image"] == 0

    def test_distance_to_the_nearest_seam(self, tmp_path: Path) -> None:
        """Tiles of 224 px start at 0, 179, 288 and at 0, 160: cores meet in the middle of the overlaps."""
        _, one = self.measured(tmp_path, ("exhaustive",), 1.0)
        seams_x, seams_y = np.array([(179 + 224) // 2, (288 + 179 + 224) // 2]), np.array([(160 + 224) / 2])
        boxes = np.concatenate([self.big, self.small])
        expected = [min(np.abs(x - seams_x).min(), np.abs(y - seams_y).min()) for x, y in boxes[:, :2]]
        np.testing.assert_allclose(one["exhaustive"].seam_px, expected)

    def test_a_wait_for_the_file_is_taken_off_no_processor_time(self, tmp_path: Path) -> None:
        """The file lets itself be waited for: 0.4 s that no processor works. The detector works for 0.2 s."""
        boxes = self.big
        Image.fromarray(np.full((384, 512), 90, np.uint8)).save(tmp_path / "grey.jpg")
        card = replace(oracle_card(boxes, ("plane",)), input_px=256)

        class Busy:
            def __init__(self) -> None:
                self.card = card

            def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
                begun = time.process_time()
                while time.process_time() - begun < 0.2:
                    pass
                return eye.detect(chips, score_threshold=score_threshold)

        def far_away(order: WorkOrder, block: Block) -> BlockPixels:
            time.sleep(0.4)
            return read_block(order, block)

        eye = OracleDetector(boxes, card=card, bounds=Window(x=0, y=0, width=512, height=384))
        (strategy,) = make_strategies(("global",), (), base(tile_px=512), card)
        view = View(uri=str(tmp_path / "grey.jpg"), truth=truth(boxes), classes=("plane",))
        measured = look(strategy, view, Busy(), far_away)
        assert measured.cpu_seconds >= 0.2
        assert measured.seconds >= 0.2
        quick = look(strategy, view, Busy())
        assert quick.cpu_seconds == pytest.approx(measured.cpu_seconds, abs=0.15)
