"""The evaluator agrees with COCO's own and with figures worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from jobs import evaluate_detector
from pipeline.annotations.annotations import EVERY_CLASS, Annotations
from pipeline.annotations.coco import read_annotations
from pipeline.annotations.truth import read_truth
from pipeline.errors import ConfigError
from pipeline.evaluation.average_precision import (
    average_precision,
    average_precision_coco,
    best_f1_score_threshold,
    bootstrap_intervals,
    operating_point,
)
from pipeline.evaluation.coco_metrics import horizontal_metrics
from pipeline.evaluation.matching import match_classes
from pipeline.evaluation.report import as_text, detections_from_columns, figures
from pipeline.evaluation.truth import compare_with_truth
from pipeline.geometry.obb import aabb_to_obb, canonical_obb, obb_to_aabb, obb_to_corners
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.outputs.tables import TableIdentity, detections_table
from pipeline.types import Detections, FloatArray, Frame


def found(boxes: list[list[float]], scores: list[float], class_ids: list[int] | None = None) -> Detections:
    classes = np.zeros(len(boxes), np.int64) if class_ids is None else np.array(class_ids, np.int64)
    return Detections(np.array(boxes, np.float64).reshape(-1, 5), np.array(scores, np.float64), classes, Frame.SCENE)


def truth(
    boxes: list[list[float]], class_ids: list[int] | None = None, ignore: list[bool] | None = None
) -> Annotations:
    classes = np.zeros(len(boxes), np.int64) if class_ids is None else np.array(class_ids, np.int64)
    ignored = np.zeros(len(boxes), np.bool_) if ignore is None else np.array(ignore, np.bool_)
    return Annotations(np.array(boxes, np.float64).reshape(-1, 5), classes, ignored)


def ship(x: float, angle: float = 0.3) -> list[float]:
    return [x, 10.0, 20.0, 6.0, angle]


def test_ap_by_hand() -> None:
    """Scores 0.9 right, 0.8 wrong, 0.7 right of 3 objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    detections = found([ship(0), ship(500), ship(100)], [0.9, 0.8, 0.7])
    annotations = truth([ship(0), ship(100), ship(200)])
    assert average_precision([detections], [annotations]) == pytest.approx(1 / 3 + (1 / 3) * (2 / 3))
    expected = (34 * 1 + 33 * (2 / 3)) / 101  # recalls 0 … 0.33 at precision 1, 0.34 … 0.66 at 2/3
    assert average_precision_coco([detections], [annotations]) == pytest.approx(expected)


def test_the_angle_counts() -> None:
    """A thin ship found at the right place and size, but across, is wrong; its bounds would have been right."""
    annotations = truth([[0, 0, 20, 4, math.pi / 4]])
    across = found([[0, 0, 20, 4, -math.pi / 4]], [0.9])
    assert average_precision([across], [annotations]) == 0
    assert horizontal_metrics([across], [annotations], class_count=1)["ap50"] == pytest.approx(1.0)


def test_an_object_found_twice_is_right_once() -> None:
    matches = match_classes([found([ship(0), ship(0.5)], [0.5, 0.9])], [truth([ship(0)])], (0.5,))[0]
    assert matches.scores.tolist() == [0.9, 0.5]
    assert matches.verdict.tolist() == [[1, 0]]


def test_ignore_regions_are_neither_right_nor_wrong() -> None:
    """Any number of detections inside a region are excused, of any class when the region says so; outside, wrong."""
    region = [300.0, 10.0, 100.0, 100.0, 0.0]
    detections = found([ship(0), ship(290), ship(320), ship(600)], [0.4, 0.9, 0.8, 0.3], [0, 0, 1, 0])
    for region_class, wrong in ((EVERY_CLASS, 1), (0, 2)):
        annotations = truth([ship(0), region], [0, region_class], [False, True])
        point = operating_point(list(match_classes([detections], [annotations], (0.5,)).values()), 0.0)
        assert (point.right, point.wrong, point.missed) == (1, wrong, 0)


def test_operating_point_and_best_threshold() -> None:
    detections = found([ship(0), ship(500), ship(100), ship(600)], [0.9, 0.8, 0.7, 0.2])
    matches = list(match_classes([detections], [truth([ship(0), ship(100), ship(200)])], (0.5,)).values())
    point = operating_point(matches, 0.7)
    assert (point.right, point.wrong, point.missed) == (2, 1, 1)
    assert point.precision == point.recall == point.f1 == pytest.approx(2 / 3)
    assert best_f1_score_threshold(matches) == 0.7


def test_no_limit_on_detections_per_scene() -> None:
    """250 ships found of 250; pycocotools at its default limit of 100 would report 0.4."""
    boxes = [ship(40.0 * i) for i in range(250)]
    detections, annotations = found(boxes, list(np.linspace(0.9, 0.1, 250))), truth(boxes)
    assert average_precision([detections], [annotations]) == pytest.approx(1)
    assert horizontal_metrics([detections], [annotations], class_count=1)["recall"] == pytest.approx(1)
    limited = horizontal_metrics([detections], [annotations], class_count=1, max_detections=100)
    assert limited["recall"] == pytest.approx(0.4)


def test_nothing_annotated_is_nan_and_nothing_found_is_zero() -> None:
    nothing, someone = found([], []), found([ship(0)], [0.9])
    assert math.isnan(average_precision([], []))
    assert math.isnan(average_precision([someone], [truth([])]))
    assert math.isnan(average_precision_coco([nothing], [truth([])]))
    assert math.isnan(horizontal_metrics([someone], [truth([])], class_count=1)["ap"])
    assert average_precision([nothing], [truth([ship(0)])]) == 0
    assert average_precision_coco([nothing], [truth([ship(0)])]) == 0
    assert horizontal_metrics([nothing], [truth([ship(0)])], class_count=1)["ap"] == 0
    empty_point = operating_point(list(match_classes([nothing], [truth([])], (0.5,)).values()), 0.5)
    assert math.isnan(empty_point.precision)
    assert math.isnan(empty_point.f1)
    with pytest.raises(ValueError, match="1 scenes of detections, but 0"):
        average_precision([nothing], [])


def random_scene(generator: np.random.Generator, *, angles: bool) -> tuple[Detections, Annotations]:
    """Three classes, crowded, with misses, false alarms, doubles and ignore regions."""
    m = 40
    boxes = np.column_stack([generator.uniform(0, 200, (m, 2)), generator.uniform(8, 30, (m, 2)), np.zeros(m)])
    if angles:
        boxes[:, 4] = generator.uniform(-1.5, 1.5, m)
    boxes, classes = canonical_obb(boxes), generator.integers(0, 3, m)
    ignore = generator.uniform(size=m) < 0.15
    copies = np.repeat(np.arange(m), generator.integers(0, 3, m))
    jittered = boxes[copies] + generator.normal(0, [2, 2, 2, 2, 0.1 if angles else 0], (len(copies), 5))
    jittered[:, 2:4] = np.maximum(jittered[:, 2:4], 3)
    wrong = np.column_stack([generator.uniform(0, 200, (15, 2)), generator.uniform(8, 30, (15, 2)), np.zeros(15)])
    every = canonical_obb(np.concatenate([jittered, wrong]))
    labels = np.concatenate([classes[copies], generator.integers(0, 3, 15)])
    return Detections(every, generator.uniform(size=len(every)), labels, Frame.SCENE), Annotations(
        boxes, classes, ignore
    )


@pytest.mark.parametrize("seed", range(5))
def test_without_angles_it_is_cocos_evaluator(seed: int) -> None:
    """Differential: with every angle 0 or -pi/2, AP50:95 equals pycocotools', ignore regions and all."""
    generator = np.random.default_rng(seed)
    scenes = [random_scene(generator, angles=False) for _ in range(4)]
    detections, annotations = [d for d, _ in scenes], [a for _, a in scenes]
    theirs = horizontal_metrics(detections, annotations, class_count=3)
    assert 0.05 < theirs["ap"] < 0.95
    assert average_precision_coco(detections, annotations) == pytest.approx(theirs["ap"], abs=1e-9)


def area_by_the_book(detections: Detections, annotations: Annotations) -> float:
    """AP50 as DOTA's kit computes it, from its definition, one detection at a time: the reference."""
    order, hits, used = np.argsort(-detections.scores), [], set()
    for row in order:
        box = np.repeat(detections.boxes[row : row + 1], len(annotations), axis=0)
        iou = rotated_iou_pairs(box, annotations.boxes)
        best = int(np.argmax(iou))
        hits.append(iou[best] >= 0.5 and best not in used)
        used |= {best} if hits[-1] else set()
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall = np.concatenate([[0.0], np.cumsum(hits) / len(annotations)])
    return sum((recall[i + 1] - recall[i]) * precision[i:].max() for i in range(len(hits)))


def test_ap50_is_dotas() -> None:
    """Differential, oriented: annotations that do not overlap, one class, against DOTA's algorithm written plainly."""
    generator = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2) * 40.0
    boxes = canonical_obb(np.column_stack([grid, generator.uniform(6, 28, (64, 2)), generator.uniform(-2, 2, 64)]))
    copies = generator.integers(0, 64, 120)
    jittered = boxes[copies] + generator.normal(0, [2, 2, 1, 1, 0.2], (120, 5))
    detections = Detections(
        canonical_obb(np.abs(jittered)), generator.uniform(size=120), np.zeros(120, np.int64), Frame.SCENE
    )
    annotations = Annotations(boxes, np.zeros(64, np.int64), np.zeros(64, np.bool_))
    expected = area_by_the_book(detections, annotations)
    assert 0.1 < expected < 0.9
    assert average_precision([detections], [annotations]) == pytest.approx(expected)


def test_row_order_and_scene_order_change_nothing() -> None:
    generator = np.random.default_rng(9)
    scenes = [random_scene(generator, angles=True) for _ in range(3)]
    expected = average_precision([d for d, _ in scenes], [a for _, a in scenes])
    shuffled = [(d[generator.permutation(len(d))], a) for d, a in reversed(scenes)]
    assert average_precision([d for d, _ in shuffled], [a for _, a in shuffled]) == pytest.approx(expected, abs=1e-12)


def test_bootstrap_is_seeded_and_holds_the_estimate() -> None:
    """Recall of 30 of 50 objects: the interval agrees with the binomial one, 0.6 ± 1.96 · sqrt(0.24 / 50)."""
    boxes = [ship(40.0 * i) for i in range(50)]
    detections = found(boxes[:30] + [ship(-100.0 - 40 * i) for i in range(10)], list(np.linspace(0.9, 0.5, 40)))
    matches = list(match_classes([detections], [truth(boxes)], (0.5,)).values())
    intervals = bootstrap_intervals(matches, 0.5, resamples=800, seed=1)
    low, high = intervals["recall"]
    half = 1.96 * math.sqrt(0.24 / 50)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.03)
    assert intervals["ap"][0] < average_precision([detections], [truth(boxes)]) < intervals["ap"][1]
    assert intervals == bootstrap_intervals(matches, 0.5, resamples=800, seed=1)
    assert intervals != bootstrap_intervals(matches, 0.5, resamples=800, seed=2)


def test_bootstrap_of_nothing_is_nan() -> None:
    assert all(math.isnan(low) for low, _ in bootstrap_intervals([], 0.5).values())


def coco_document(boxes: FloatArray) -> dict[str, object]:
    corners, bounds = obb_to_corners(boxes), obb_to_aabb(boxes)
    rows: list[dict[str, object]] = [
        {"image_id": 7, "category_id": 3, "segmentation": [corners[0].ravel().tolist()], "bbox": [0, 0, 1, 1]},
        {"image_id": 7, "category_id": 5, "segmentation": [], "rbox": boxes[1].tolist(), "iscrowd": 1},
        {
            "image_id": 7,
            "category_id": 9,
            "segmentation": [],
            "bbox": [*bounds[2, :2], *(bounds[2, 2:] - bounds[2, :2])],
        },
    ]
    categories = [{"id": 9, "name": "dont_care"}, {"id": 5, "name": "truck"}, {"id": 3, "name": "car"}]
    images = [{"id": 7, "file_name": "a.tif"}, {"id": 8, "file_name": "b.tif"}]
    return {"images": images, "categories": categories, "annotations": rows}


def test_reading_coco_files(tmp_path: Path) -> None:
    boxes = canonical_obb(np.array([[10, 20, 8, 3, 0.5], [30, 5, 9, 2, -1.0], [50, 50, 20, 10, 0.0]]))
    (tmp_path / "a.json").write_text(json.dumps(coco_document(boxes)))
    read = read_annotations(tmp_path / "a.json")
    assert read.classes == ("car", "truck")
    assert list(read.scenes) == ["a.tif", "b.tif"]
    scene = read.scenes["a.tif"]
    np.testing.assert_allclose(scene.boxes, boxes, atol=1e-9)
    assert scene.class_ids.tolist() == [0, 1, EVERY_CLASS]
    assert scene.ignore.tolist() == [False, True, True]
    assert len(read.scenes["b.tif"]) == 0


@pytest.mark.parametrize("text", ["no json", "[]", '{"images": []}'])
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.json cannot be read as COCO annotations"):
        read_annotations(tmp_path / "a.json")


def test_real_annotations_read_as_their_own_rbox(kestrel_data: Path) -> None:
    """The corners of the real ship annotations give the rectangles their authors wrote beside them."""
    path = kestrel_data / "sen2ships/annotations/val.json"
    read = read_annotations(path)
    rows = json.loads(path.read_text())["annotations"]
    theirs = canonical_obb(np.array([row["rbox"] for row in rows]))
    ours = np.concatenate([scene.boxes for scene in read.scenes.values()])
    assert len(ours) == 46
    assert rotated_iou_pairs(ours, theirs).min() > 0.99


def test_horizontal_boxes_are_canonical() -> None:
    boxes = aabb_to_obb(np.array([[0.0, 0.0, 10.0, 4.0], [0.0, 0.0, 4.0, 10.0]]))
    np.testing.assert_allclose(boxes, [[5, 2, 10, 4, 0], [2, 5, 10, 4, -np.pi / 2]])


class TestReport:
    """The dictionary that goes into a model card, and the job that prints it."""

    boxes: ClassVar = [ship(40.0 * i) for i in range(10)]

    def columns(self, names: list[str]) -> dict[str, object]:
        table = np.array(self.boxes[: len(names)])
        parts = ("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad")
        return {
            "class_name": names,
            "score": np.linspace(0.9, 0.1, len(names)),
            **dict(zip(parts, table.T, strict=True)),
        }

    def test_figures_by_hand(self) -> None:
        """Scene a: 5 of 10 found and one false alarm at the threshold; scene b: nothing there, one false alarm."""
        a = found([*self.boxes[:5], ship(-200), *self.boxes[5:7]], [0.9] * 5 + [0.8] + [0.2] * 2)
        b = found([ship(0)], [0.7])
        report = figures(
            {"a.tif": a, "b.tif": b}, {"a.tif": truth(self.boxes), "b.tif": truth([])}, classes=("ship",),
            score_threshold=0.5, resamples=50,
        )  # fmt: skip
        assert report["precision"] == pytest.approx(5 / 7, abs=1e-4)
        assert report["recall"] == 0.5
        assert report["ap50"] == pytest.approx(0.5 + 0.2 * 7 / 9, abs=1e-4)
        assert report["per_class"]["ship"]["missed"] == 5
        assert report["per_scene"] == {
            "a.tif": {"right": 5, "wrong": 1, "missed": 5},
            "b.tif": {"right": 0, "wrong": 1, "missed": 0},
        }
        assert report["lowest_score"] == 0.2
        assert json.loads(json.dumps(report)) == report
        assert "b.tif: 0 right, 1 wrong, 0 missed" in as_text(report)

    def test_figures_of_nothing_are_none(self) -> None:
        report = figures({"a.tif": found([], [])}, {"a.tif": truth([])}, classes=("ship",), score_threshold=0.5)
        assert report["ap50"] is None
        assert report["precision_interval"] == [None, None]
        assert as_text(report).startswith("1 scenes, 0 annotated boxes")

    def test_columns_become_detections_of_the_annotations_classes(self) -> None:
        """Class numbers are the annotations', not the model's; classes nobody annotated are left out."""
        d = detections_from_columns(self.columns(["boat", "ship", "car", "ship"]), ("car", "ship"))
        assert d.class_ids.tolist() == [1, 0, 1]
        assert d.frame == Frame.SCENE
        np.testing.assert_allclose(d.boxes, np.array(self.boxes)[1:4])

    def test_the_job_judges_a_published_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Through the real Parquet writer and reader: 2 of 3 annotated ships are in the file."""
        boxes = canonical_obb(np.array([[10, 20, 8, 3, 0.5], [30, 5, 9, 2, -1.0], [50, 50, 20, 10, 0.0]]))
        rows = [
            {"image_id": 1, "category_id": 1, "segmentation": [c.ravel().tolist()], "bbox": [0, 0, 1, 1]}
            for c in obb_to_corners(boxes)
        ]
        document = {
            "images": [{"id": 1, "file_name": "a.tif"}],
            "categories": [{"id": 1, "name": "ship"}],
            "annotations": rows,
        }
        (tmp_path / "truth.json").write_text(json.dumps(document))
        seen = Detections(boxes[:2], np.array([0.9, 0.8]), np.zeros(2, np.int64), Frame.SCENE)
        identity = TableIdentity(scene_id="a", model_id="m", run_id="r", classes=("ship",))
        table = detections_table(
            corners_world=obb_to_corners(boxes[:2]),
            px_boxes=boxes[:2],
            measures=None,
            detections=seen,
            tile_ids=["r0000c0000"],
            identity=identity,
        )
        (tmp_path / "a").mkdir()
        write_geoparquet(table, tmp_path / "a" / "detections.parquet", crs_projjson=None, metadata={})
        argv = [
            "--detections",
            str(tmp_path / "a" / "detections.parquet"),
            "--annotations",
            str(tmp_path / "truth.json"),
        ]
        assert evaluate_detector.main([*argv, "--json", str(tmp_path / "figures.json")]) == 0
        assert "ship: AP50 0.667, 2 right, 0 wrong, 1 missed" in capsys.readouterr().out
        assert json.loads((tmp_path / "figures.json").read_text())["recall"] == pytest.approx(2 / 3, abs=1e-4)

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            ([], "give either --data"),
            (["--annotations", "absent.json"], "absent.json cannot be read as COCO annotations"),
        ],
    )
    def test_the_job_refuses_in_one_sentence(
        self, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert evaluate_detector.main(argv) == 2
        assert said in capsys.readouterr().err


class TestMadeScenes:
    """A truth file as ``make_scene`` writes it: boxes in pixels beside the polygons."""

    def truth_file(self, folder: Path, boxes: list[list[float]]) -> Path:
        names = ("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad")
        properties = [{"class_id": 2, "class_name": "ship", **dict(zip(names, box, strict=True))} for box in boxes]
        features = [{"type": "Feature", "properties": row, "geometry": None} for row in properties]
        path = folder / "harbour.truth.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return path

    def test_found_and_false_alarms_are_counted(self, tmp_path: Path) -> None:
        path = self.truth_file(tmp_path, [ship(0), ship(40), ship(80)])
        seen = np.array([ship(0), ship(81), ship(400)])
        columns = {"class_name": ["ship"] * 3, "score": [0.9, 0.8, 0.7]}
        columns |= dict(zip(("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad"), seen.T.tolist(), strict=True))
        assert compare_with_truth(columns, path).startswith("2 of 3 true objects found (67 %), 1 false alarms")
        empty = self.truth_file(tmp_path, [])
        assert compare_with_truth(columns, empty).startswith("0 of 0 true objects found, 3 false alarms")

    def test_the_scene_is_named_as_its_file(self, tmp_path: Path) -> None:
        read = read_truth(self.truth_file(tmp_path, [ship(0)]))
        assert list(read.scenes) == ["harbour"]
        assert read.classes == ("ship",)
        assert len(read_truth(self.truth_file(tmp_path, [])).scenes["harbour"]) == 0

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.geojson").write_text(json.dumps({"features": [{"properties": {}}]}))
        with pytest.raises(ConfigError, match="cannot be read as the truth of a made scene"):
            read_truth(tmp_path / "x.geojson")
