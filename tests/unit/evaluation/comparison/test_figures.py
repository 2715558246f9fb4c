"""Ways of looking, compared: what each strategy is, what it measures, and how sure a difference is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs import evaluate_detector
from pipeline.annotations.annotations import Annotations
from pipeline.config import DetectorConfig, RefineConfig, RunConfig, TilingConfig
from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_rtdetr.folder import load_network, save_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.errors import ConfigError
from pipeline.evaluation.average_precision import (
    COCO_IOU_THRESHOLDS,
    area_under_curve,
    average_precision,
    mean_over_classes,
    sampled_average,
)
from pipeline.evaluation.coco_metrics import SIZES, metrics_by_size
from pipeline.evaluation.comparison.bootstrap import draw, interval, make_units, resampled_ap
from pipeline.evaluation.comparison.command import budgets_of_crops
from pipeline.evaluation.comparison.figures import Judging, compare
from pipeline.evaluation.comparison.measuring import Measurement, measure, with_queries
from pipeline.evaluation.comparison.oracle import oracle_gain
from pipeline.evaluation.comparison.plot import plot_comparison
from pipeline.evaluation.comparison.strategies import STRATEGIES, Strategy, as_close_as_crops, fitted, make_strategies
from pipeline.evaluation.comparison.text import as_markdown
from pipeline.evaluation.data import EvaluationData
from pipeline.evaluation.dota_submission import read_submission
from pipeline.evaluation.matching import match_classes
from pipeline.evaluation.sizes import of_size, recall_by_seam_distance, root_areas
from pipeline.geometry.obb import canonical_obb
from pipeline.planning.tiles import plan_tiles
from pipeline.second_look.windows import Glance, Windows
from pipeline.synth.oracle import OracleDetector, oracle_card
from pipeline.types import Chip, Detections, FloatArray, Frame, Lattice, Look, ModelCard, Window

CARD = replace(oracle_card(np.zeros((0, 5)), ("plane",)), input_px=128)
LATTICE = Lattice(width=1024, height=600, scale_x=1.0, scale_y=1.0, gsd_m=None)


def base(**tiling: Any) -> RunConfig:
    return RunConfig(
        tiling=TilingConfig(**{"global_factor": 2.0, **tiling}), detector=DetectorConfig(score_threshold=0.1)
    )


def truth(boxes: FloatArray) -> Annotations:
    return Annotations(boxes, np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.bool_))


def found(boxes: FloatArray, scores: Sequence[float]) -> Detections:
    return Detections(boxes, np.array(scores, np.float64), np.zeros(len(boxes), np.int64), Frame.SCENE)


class TestStrategies:
    def test_each_is_the_run_it_says(self) -> None:
        made = {one.name: one for one in make_strategies(STRATEGIES, (0.25, 1.0), base(), CARD, seeds=2)}
        assert made["global"].config.refine.selector == "none"
        assert {one.config.tiling.tile_px for name, one in made.items() if name != "exhaustive"} == {256}
        whole = made["exhaustive"].config.tiling
        assert (whole.global_factor, whole.tile_px, whole.halo_px) == (1.0, 128, 26)
        assert made["sae@0.25"].config.refine == RefineConfig(selector="sae", budget=0.25)
        assert [made[f"random@1#{seed}"].config.refine.seed for seed in (0, 1)] == [0, 1]
        assert made["oracle@1"].omniscient
        assert made["oracle@1"].config.refine.budget == 1
        assert made["queries600"].queries == 600
        assert len({one.family for one in made.values()}) == len(made) - 2, "seeds are one family"

    def test_exhaustive_is_the_cheapest_cover(self) -> None:
        """Of 1280 px by tiles of 320 to 640 px: 3 x 3 of 512, not 3 x 3 of 640 and not 4 x 4 of 416; what fits into one
        tile is one look; a scene takes what covers it best."""
        card = replace(CARD, input_px=640)
        strategy = make_strategies(["exhaustive"], (), base(), card)[0]
        for width, height, side in ((1280, 1280, 512), (640, 512, 640), (2201, 871, 544)):
            lattice = Lattice(width=width, height=height, scale_x=1.0, scale_y=1.0, gsd_m=None)
            tiling = fitted(strategy, lattice, card).tiling
            assert (tiling.tile_px, tiling.halo_px) == (side, round(0.2 * side))
            cost = sum(tile.window.pixels for tile in plan_tiles(lattice, side, round(0.2 * side)))
            for other in range(320, 641, 32):
                assert cost <= sum(t.window.pixels for t in plan_tiles(lattice, other, round(0.2 * other)))
        assert fitted(strategy, LATTICE, replace(card, input_px=32)).tiling.tile_px == 32
        plain = make_strategies(["global"], (), base(), card)[0]
        assert fitted(plain, LATTICE, card) == plain.config

    def test_larger_spends_the_budget_in_one_look(self) -> None:
        """(tile / factor)² = (1 + budget) (tile / global factor)²; the last is not shrunk at all."""
        factors = {
            s.budget: s.config.tiling.global_factor for s in make_strategies(["larger"], (0.5, 1, 9), base(), CARD)
        }
        assert factors.pop(3.0) == 1.0
        assert set(factors) == {0.5, 1.0}, "a budget beyond every pixel has no larger input"
        for budget, factor in factors.items():
            assert 1 / factor**2 == pytest.approx((1 + budget) / 4)

    @pytest.mark.parametrize(
        ("kinds", "budgets", "config", "said"),
        [
            (["global", "magic"], (1.0,), base(), "there is no strategy 'magic'; there are global, sae,"),
            (["sae"], (1.0,), base(global_factor=1.0), "there is no second look to compare"),
            (["sae"], (0.0,), base(), "a budget of 0 is the strategy global"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, kinds: list[str], budgets: tuple[float, ...], config: RunConfig, said: str
    ) -> None:
        with pytest.raises(ConfigError, match=said):
            make_strategies(kinds, budgets, config, CARD)

    @pytest.mark.parametrize(
        ("zoom", "kind", "factor"), [(2.0, "exhaustive", 1.0), (9.0, "exhaustive", 1.0), (1.6, "larger", 1.25)]
    )
    def test_the_oracle_knows_what_is_found_as_close_as_crops_are_shown(
        self, zoom: float, kind: str, factor: float
    ) -> None:
        shared = replace(base(tile_px=512), refine=RefineConfig(zoom=zoom))
        close = as_close_as_crops(shared, CARD)
        assert (close.kind, close.config.tiling.global_factor) == (kind, factor)
        assert not close.config.looks_twice

    def test_the_oracle_counts_what_scores_rise_by(self) -> None:
        """Three objects, the last one seen with 0.2. Windows: over the first; over the first and the second, so taken
        before it; over the third; too tight around the second."""
        boxes = np.array([[31.0, 10, 8, 4, 0], [50, 10, 8, 4, 0], [90, 10, 8, 4, 0]])
        seen = Detections(boxes[2:], np.array([0.2]), np.zeros(1, np.int64), Frame.LATTICE)
        glance = Glance(tile=Window(x=0, y=0, width=100, height=20), factor=2.0, attention=None, detections=seen)
        rows = np.array([[0, 0, 40, 20], [22, 0, 62, 20], [80, 0, 100, 20], [43, 0, 79, 20]])
        windows = Windows(boxes=rows, intensity=np.zeros(4), entropy=np.zeros(4))
        known = Annotations(boxes, np.zeros(3, np.int64), np.zeros(3, np.bool_))
        reachable = np.array([0.9, 0.7, 0.8])
        lattice = glance.tile

        def gains(known: Annotations, reachable: FloatArray, glance: Glance) -> FloatArray:
            return oracle_gain(known, reachable, lattice)([glance], [windows])

        np.testing.assert_allclose(gains(known, reachable, glance), [0, 1.6 / 800, 0.6 / 400, 0])
        other = replace(glance, detections=replace(seen, class_ids=np.array([1])))
        np.testing.assert_allclose(gains(known, reachable, other), [0, 1.6 / 800, 0.8 / 400, 0])
        lost = np.array([0.9, 0.7, 0.1])  # a crop would rather do harm
        np.testing.assert_allclose(gains(known, lost, glance), [0, 1.6 / 800, 0, 0])
        ignored = replace(known, ignore=np.array([False, True, True]))
        np.testing.assert_allclose(gains(ignored, reachable, glance), [0.9 / 800, 0, 0, 0])

    def test_the_oracle_knows_that_crops_show_nothing_outside_them(self) -> None:
        """An object in the next tile, and one that the tile's inner side would cut, are no reason for a crop."""
        boxes = np.array([[150.0, 50, 8, 4, 0], [98, 50, 8, 4, 0], [50, 50, 8, 4, 0]])
        known = Annotations(boxes, np.zeros(3, np.int64), np.zeros(3, np.bool_))
        tile = Window(x=0, y=0, width=100, height=100)
        glance = Glance(tile=tile, factor=2.0, attention=None, detections=Detections.empty(Frame.LATTICE))
        rows = np.array([[50, 25, 100, 75], [25, 25, 75, 75]])
        windows = Windows(boxes=rows, intensity=np.zeros(2), entropy=np.zeros(2))
        gain = oracle_gain(known, np.full(3, 0.9), Window(x=0, y=0, width=200, height=100))
        np.testing.assert_allclose(gain([glance], [windows]), [0, 0.9 / 2500])


def separate(generator: np.random.Generator) -> tuple[Detections, Annotations]:
    """Objects of all sizes on a grid so wide that none touches another, found up to twice, and false alarms."""
    grid = np.stack(np.meshgrid(np.arange(7), np.arange(7)), -1).reshape(-1, 2) * 400.0
    sides = 2 ** generator.uniform(1.2, 7.6, (49, 2))
    boxes = canonical_obb(np.column_stack([grid, sides, np.zeros(49)]))
    copies = np.repeat(np.arange(49), generator.integers(0, 3, 49))
    jitter = generator.normal(0, 0.08, (len(copies), 4)) * np.tile(boxes[copies, 2:4], 2)
    seen = boxes[copies] + np.column_stack([jitter, np.zeros(len(copies))])
    wrong = np.column_stack(
        [generator.uniform(0, 2400, (20, 2)) + 200, 2 ** generator.uniform(1, 7, (20, 2)), np.zeros(20)]
    )
    every = canonical_obb(np.concatenate([seen, wrong]))
    return found(every, generator.uniform(size=len(every)).tolist()), truth(boxes)


class TestSizes:
    @pytest.mark.parametrize("seed", range(3))
    def test_without_angles_it_is_cocos_evaluator_at_every_size(self, seed: int) -> None:
        """Differential: pycocotools with maxDets 500 against our matching by true IoU, all angles zero."""
        generator = np.random.default_rng(seed)
        detections, annotations = zip(*(separate(generator) for _ in range(3)), strict=True)
        theirs = metrics_by_size(detections, annotations, class_count=1)
        matches = match_classes(detections, annotations, COCO_IOU_THRESHOLDS)[0]
        assert theirs["ap50"] == pytest.approx(sampled_average(matches, 0), abs=1e-9)
        assert theirs["ap75"] == pytest.approx(sampled_average(matches, 5), abs=1e-9)
        for name, (low, high) in SIZES.items():
            own = of_size(matches, root_areas(annotations), root_areas(detections), low, high)
            ours = np.mean([sampled_average(own, row) for row in range(10)])
            assert theirs[f"ap_{name}"] == pytest.approx(ours, abs=1e-9), name
        assert 0.05 < theirs["ap_tiny"] < 0.95

    def test_voc07_by_hand(self) -> None:
        """Precision 1 up to recall 1/3 and 2/3 up to 2/3: the eleven recalls meet 1 four times, 2/3 three times."""
        boxes = np.array([[40.0 * i, 10, 20, 6, 0.3] for i in range(3)])
        seen = found(np.concatenate([boxes[:1], boxes[:1] + 900, boxes[1:2]]), [0.9, 0.8, 0.7])
        matches = match_classes([seen], [truth(boxes)], (0.5,))[0]
        assert sampled_average(matches, points=11) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)

    def test_detections_where_nothing_is_annotated(self) -> None:
        matches = match_classes([found(np.array([[9.0, 9, 9, 9, 0]]), [0.5])], [truth(np.zeros((0, 5)))], (0.5,))[0]
        assert math.isnan(area_under_curve(of_size(matches, np.zeros(0), np.array([9.0]), 0, 32)))

    def test_recall_by_distance_to_a_seam(self) -> None:
        boxes = np.array([[40.0 * i, 10, 20, 6, 0.3] for i in range(4)])
        matches = match_classes([found(boxes[[0, 2]], [0.9, 0.2])], [truth(boxes)], (0.5,))
        seams = np.array([3.0, 15.0, 100.0, np.inf])
        assert recall_by_seam_distance(matches, seams, 0.1) == {
            "0 to 16 px": {"objects": 2, "recall": 0.5},
            "64 px and more": {"objects": 1, "recall": 1.0},
        }
        assert recall_by_seam_distance(matches, seams, 0.5)["64 px and more"]["recall"] == 0


def noisy(generator: np.random.Generator, count: int = 12) -> tuple[Detections, Annotations]:
    """Objects of two classes, some found, and false alarms."""
    boxes = canonical_obb(
        np.column_stack([generator.uniform(0, 500, (count, 2)), generator.uniform(8, 30, (count, 3))])
    )
    labels = generator.integers(0, 2, count)
    keep = generator.uniform(size=count) < 0.7
    wrong = canonical_obb(np.column_stack([generator.uniform(0, 500, (6, 2)), generator.uniform(8, 30, (6, 3))]))
    seen = np.concatenate([boxes[keep], wrong])
    classes = np.concatenate([labels[keep], generator.integers(0, 2, 6)])
    return (
        Detections(seen, generator.uniform(size=len(seen)), classes, Frame.SCENE),
        Annotations(boxes, labels, generator.uniform(size=count) < 0.1),
    )


class TestBootstrap:
    def test_a_draw_is_the_set_of_images_drawn(self) -> None:
        """Differential: AP under weights is AP of a data set in which each image stands as often as it was drawn."""
        generator = np.random.default_rng(5)
        scenes = [noisy(generator) for _ in range(60)]
        detections, annotations = [d for d, _ in scenes], [a for _, a in scenes]
        units = make_units(annotations, [LATTICE] * 60)
        assert (units.kind, units.count) == ("images", 60)
        draws = draw(units, 5)
        assert (draws.sum(axis=1) == 60).all()
        matches = list(match_classes(detections, annotations, (0.5,)).values())
        resampled = resampled_ap(matches, units, units.of_detections(detections), np.vstack([np.ones(60), draws]))
        assert resampled[0] == pytest.approx(mean_over_classes([area_under_curve(one) for one in matches]))
        for row, value in zip(draws.astype(int), resampled[1:], strict=True):
            drawn = np.repeat(np.arange(60), row)
            again = average_precision([detections[i] for i in drawn], [annotations[i] for i in drawn])
            assert value == pytest.approx(again, abs=1e-12)

    def test_few_images_are_drawn_by_blocks(self) -> None:
        """Two images of 1024 x 600 lattice pixels have 2 x 2 blocks each; a box at the rim belongs to the last."""
        boxes = np.array([[10.0, 10, 8, 4, 0], [600, 10, 8, 4, 0], [1024, 599, 8, 4, 0]])
        units = make_units([truth(boxes), truth(boxes[:1])], [LATTICE, replace(LATTICE, scale_x=0.5, scale_y=0.5)])
        assert (units.kind, units.count) == ("blocks of 512 px", 8)
        assert units.of_annotation.tolist() == [0, 1, 3, 4]
        scaled = found(np.array([[300.0, 200, 8, 4, 0]]), [0.5])  # 600, 400 on a lattice twice as fine
        assert units.of_detections([found(boxes[:0], []), scaled]).tolist() == [5]

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

    def test_the_interval_covers_as_often_as_it_says(self) -> None:
        """Of 60 data sets with a known recall of 0.6 and no false alarm (AP50 = recall), about 57 intervals hold it."""
        generator = np.random.default_rng(2)
        boxes = np.array([[40.0 * i, 10, 20, 6, 0.3] for i in range(6)])
        held = 0
        for _ in range(60):
            keep = generator.uniform(size=(50, 6)) < 0.6
            detections = [found(boxes[row], [0.9] * int(row.sum())) for row in keep]
            annotations = [truth(boxes)] * 50
            units = make_units(annotations, [LATTICE] * 50)
            matches = list(match_classes(detections, annotations, (0.5,)).values())
            low, high = interval(resampled_ap(matches, units, units.of_detections(detections), draw(units, 200)))
            held += low <= 0.6 <= high
        assert 52 <= held <= 60


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


SMALL = NetworkConfig(
    classes=2,
    stage_channels=(16, 16, 16, 16),
    stage_depths=(1, 1, 1, 1),
    width=32,
    heads=2,
    decoder_layers=2,
    queries=30,
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Our own network with random weights, as a checkpoint."""
    torch.manual_seed(0)
    folder = tmp_path / "weights"
    save_network(folder, OrientedRTDetr(SMALL).eval())
    card = ModelCard(
        name="small", classes=("person", "car"), gsd_m=None, bands=("red", "green", "blue"), input_px=64,
        sha256=weights_sha256(folder), oriented=True, score_threshold=0.02,
    )  # fmt: skip
    write_card(folder, card)
    return folder


class TestTheJob:
    def data(self, folder: Path) -> Path:
        (folder / "images").mkdir()
        rows = [{"id": 1, "image_id": i, "category_id": 1, "bbox": [30, 20, 12, 9], "segmentation": []} for i in (1, 2)]
        rows += [{"id": 2, "image_id": 1, "category_id": 7, "bbox": [80, 20, 12, 9], "segmentation": []}]
        names = ("person", "car", "bicycle", "dont_care")
        document = {
            "images": [{"id": i, "file_name": f"{i}.jpg", "width": 256, "height": 192} for i in (1, 2, 3)],
            "categories": [{"id": i, "name": name} for i, name in zip((1, 2, 3, 7), names, strict=True)],
            "annotations": rows,
        }
        for i in (1, 2, 3):
            noise = np.random.default_rng(i).integers(0, 255, (192, 256), np.uint8)
            Image.fromarray(noise).save(folder / "images" / f"{i}.jpg")
        (folder / "truth.json").write_text(json.dumps(document))
        return folder / "truth.json"

    def test_it_writes_tables_json_picture_and_submissions(
        self, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Grey images, shrunk, a network with cross-attention, every kind of strategy."""
        out = tmp_path / "results"
        argv = ["--weights", str(weights), "--data", str(self.data(tmp_path)), "--strategies",
                "global,sae,density,random,ours,oracle,exhaustive,larger,queries600", "--crops", "1,2",
                "--global-factor", "2", "--tile", "128", "--shrink", "2", "--seeds", "2", "--baseline", "global,random",
                "--refine.scales", "[1]", "--dota", "--resamples", "20", "--out", str(out)]  # fmt: skip
        assert evaluate_detector.main(argv) == 0
        printed = capsys.readouterr().out
        report = json.loads((out / "comparison.json").read_text())
        assert printed == (out / "comparison.md").read_text() == as_markdown(report)
        assert "evaluate_detector.py --weights" in printed
        assert "| random@1 (2 seeds) |" in printed
        assert "the model does not know bicycle: ignore regions" in printed
        rows = report["strategies"]
        assert {row["tiles_failed"] for row in rows.values()} == {0}
        assert rows["global"]["network_mpx_per_image"] == pytest.approx(64 * 48 / 1e6)
        assert rows["sae@1"]["crops_per_image"] == 1
        assert report["setting"]["refine"]["scales"] == [1.0]
        assert (report["images"], report["objects"]) == (3, 2)
        with Image.open(out / "comparison.png") as picture:
            assert picture.width > 800
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
        assert len(read_submission(out / "dota" / "random@1#1", ("person", "car"))) == 3

    def test_images_without_any_object(self, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """False alarms and costs are told, accuracies do not exist, and the json is one."""
        path = self.data(tmp_path)
        path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
        argv = ["--weights", str(weights), "--data", str(path), "--strategies", "global,oracle,uniform"]
        argv += ["--tile", "128", "--budgets", "1,1", "--resamples", "20", "--out", str(tmp_path / "results")]
        assert evaluate_detector.main(argv) == 0
        assert "| global | – | ––– | – |" in capsys.readouterr().out
        report = json.loads((tmp_path / "results" / "comparison.json").read_text(), parse_constant=pytest.fail)
        assert report["strategies"]["global"]["ap50"] is None
        assert report["strategies"]["global"]["false_positives_per_image"] > 0
        assert "oracle@1 took no crop" in report["notes"][1]

    def test_budgets_as_crops_per_tile(self) -> None:
        """Half the side of the picture costs a quarter of a look."""
        assert budgets_of_crops((1, 2, 8), (0.5,)) == (0.25, 0.5, 2.0)
        with pytest.raises(ConfigError, match="--crops needs crops of one size, not 2"):
            budgets_of_crops((1,), (0.25, 0.5))

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            (["--strategies", "global"], "--strategies needs --data"),
            (["--strategies", "magic", "--data", "DATA"], "there is no strategy 'magic'"),
            (["--strategies", "global", "--data", "DATA", "--refine.budgt", "1"], "did you mean refine.budget?"),
            (["--annotations", "DATA", "--tiling.gsd", "native"], "are for --strategies only"),
            (["--strategies", "global", "--data", "DATA", "--first", "0"], "--first must be at least 1, not 0"),
            (["--strategies", "global", "--data", "DATA", "--repeats", "0"], "--repeats must be at least 1, not 0"),
            (["--strategies", "global", "--data", "DATA", "--shrink", "0"], "--shrink must be positive, not 0"),
        ],
    )
    def test_it_refuses_in_one_sentence(
        self, argv: list[str], said: str, tmp_path: Path, weights: Path,
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(tmp_path)  # the folder of results is made before some refusals, and is here by default
        given = [str(self.data(tmp_path)) if word == "DATA" else word for word in argv]
        assert evaluate_detector.main(["--weights", str(weights), *given]) == 2
        assert said in capsys.readouterr().err

    def test_a_folder_that_cannot_be_written_to_is_told_before_the_measuring(
        self, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        argv = ["--weights", str(weights), "--data", str(self.data(tmp_path)), "--strategies", "global", "--out"]
        assert evaluate_detector.main([*argv, str(tmp_path / "file")]) == 5
        told = capsys.readouterr().err
        assert f"cannot write to {tmp_path / 'file'}" in told
        assert "1 of" not in told

    def test_more_queries_are_the_same_network(self, weights: Path, tmp_path: Path) -> None:
        copy = with_queries(weights, 600, tmp_path / "copy")
        assert load_network(copy).config == replace(SMALL, queries=600)
        assert load_network(weights).config == SMALL
        before, after = (load_network(folder).state_dict() for folder in (weights, copy))
        assert all(torch.equal(before[name], after[name]) for name in before)
        (weights / "config.json").write_text("{}")
        with pytest.raises(ConfigError, match="does not say how many queries"):
            with_queries(weights, 600, tmp_path / "other")


def test_a_plot_without_the_global_look(tmp_path: Path) -> None:
    row = {"ap50": 0.5, "ap50_interval": [0.4, 0.6], "network_mpx_per_image": 1.0, "seconds_p50": 0.2}
    strategies = {
        "exhaustive": {**row, "kind": "exhaustive", "budget": None},
        "sae@1": {**row, "kind": "sae", "budget": 1},
    }
    report = {"images": 1, "objects": 1, "classes": ["ship"], "strategies": strategies}
    plot_comparison(report, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
