"""The dictionary that goes into a model card, and the job that prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from jobs import evaluate_detector
from pipeline.evaluation.report import as_text, detections_from_columns, figures
from pipeline.geometry.obb import canonical_obb, obb_to_corners
from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.outputs.tables import TableIdentity, detections_table
from pipeline.types import Detections, Frame
from tests.support.judging import found, ship, truth


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
        assert report["ap75"] == report["ap50"], "what is right is exactly in its place"
        assert report["per_class"]["ship"]["ap75"] == report["ap75"]
        assert report["bootstrap"] == "50 draws of 2 blocks of 512 px"
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
