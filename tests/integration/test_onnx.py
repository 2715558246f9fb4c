"""ONNX files of every layout, all the way: one command from a file to published boxes that lie where they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import detect_scene
from pipeline.geometry.obb import canonical_obb
from pipeline.synth.harbour.harbour import demo_harbour
from pipeline.types import FloatArray, Window
from tests.support.onnx_files import CELL, CLASSES, GUESTS, OBJECTNESS, TURNED, expected_sides, write_guest
from tests.support.scenes import write_geotiff

CELLS = ((2, 3, 0), (11, 5, 1), (9, 12, 2))
"""Row, column and band of what is bright in the scene, in cells."""
SETTINGS = ("--executor", "local", "--tiling.halo_px", "24", "--raster.stretch", "none", "--output.preview_px", "0")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((112, 112, 3), 20, np.uint8)
    for row, column, band in CELLS:
        pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL, band] = 204
    return write_geotiff(tmp_path_factory.mktemp("scene") / "scene.tif", pixels)


@pytest.mark.parametrize("layout", GUESTS)
def test_every_layout_is_published(
    layout: str, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several tiles: what more than one of them sees is one detection."""
    weights = write_guest(tmp_path, layout, angle=0.4)
    command = ["--scene", str(scene), "--weights", str(weights), "--out", str(tmp_path / "out"), *SETTINGS]
    assert detect_scene.main(command) == 0
    found = pq.read_table(tmp_path / "out" / "scene" / "detections.parquet").to_pydict()
    order = np.argsort(found["class_id"])
    assert [found["class_name"][row] for row in order] == CLASSES
    boxes = np.column_stack([found[f"px_{name}"] for name in ("cx", "cy", "w", "h", "angle_rad")])[order]
    meant = [((column + 0.5) * CELL, (row + 0.5) * CELL, *expected_sides(layout, 0.4)) for row, column, _ in CELLS]
    np.testing.assert_allclose(boxes, canonical_obb(np.array(meant)), atol=1e-3)
    model = json.loads((tmp_path / "out" / "scene" / "run.json").read_text())["model"]
    assert model["licence"] == ("CC0-1.0 (none)" if layout.startswith(("yolo", "ultralytics")) else "unknown")
    assert model["runtime"].startswith("onnxruntime ")
    said = capsys.readouterr().err
    assert said.count(f"{layout}.onnx is read as ") == 1
    assert model["described"] in said


def test_a_folder_with_a_model_and_a_card_looks_twice_by_density(scene: Path, tmp_path: Path) -> None:
    """No attention: the selectors that need none work as with any dense detector."""
    shutil.move(write_guest(tmp_path, "yolo-obb", size=None), tmp_path / "model.onnx")
    (tmp_path / "model.card.json").write_text(json.dumps({"input_px": 64}))
    looks = ["--tiling.tile_px", "128", "--tiling.global_factor", "2", "--refine.selector", "density",
             "--refine.budget", "1", "--refine.scales", "[0.7]"]  # fmt: skip
    command = ["--scene", str(scene), "--weights", str(tmp_path), "--out", str(tmp_path / "out"), *SETTINGS]
    assert detect_scene.main([*command, *looks, "--detector.score_threshold", "0.2"]) == 0
    record = json.loads((tmp_path / "out" / "scene" / "run.json").read_text())
    assert record["second_look"]["crops"] > 0
    assert record["detections"] >= 3


def test_a_file_that_cannot_be_run_ends_with_a_sentence_and_nothing_published(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_guest(tmp_path, "yolo")
    weights.write_bytes(weights.read_bytes()[:-200])
    command = ["--scene", str(scene), "--weights", str(weights), "--out", str(tmp_path / "out"), *SETTINGS]
    assert detect_scene.main(command) == 4
    assert "yolo.onnx is no " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_layout_says_the_same_of_a_part_of_the_demo_scene(tmp_path: Path) -> None:
    """16-bit, georeferenced, stretched as any scene is: what the cells mean is one thing, however it is written.

    By a softmax no two classes can be sure of a cell, which of bright ground they are.
    """
    harbour, part = demo_harbour(), Window(x=980, y=560, width=112, height=64)
    shown = write_geotiff(tmp_path / "demo.tif", harbour.render(part), crs="EPSG:32632")
    said: dict[bool, dict[str, FloatArray]] = {False: {}, True: {}}
    for layout in [one for one in GUESTS if one != "detr-softmax"]:
        weights, out = write_guest(tmp_path, layout, angle=0.4), tmp_path / layout
        score = 0.4 * (OBJECTNESS if layout == "yolov5" else 1)
        command = ["--scene", str(shown), "--weights", str(weights), "--out", str(out), "--executor", "local",
                   "--output.preview_px", "0", "--tiling.halo_px", "24",
                   "--detector.score_threshold", str(score)]  # fmt: skip
        assert detect_scene.main(command) == 0
        found = pq.read_table(out / "demo" / "detections.parquet").to_pydict()
        columns = np.column_stack([found[name] for name in ("class_id", "px_cx", "px_cy", "px_w", "px_h", "score")])
        if layout == "yolov5":
            columns[:, -1] /= OBJECTNESS
        said[layout in TURNED][layout] = columns[np.lexsort(columns.T[:3])]
    for kind in said.values():
        first, *others = kind
        assert len(kind[first]) > 5
        for other in others:
            np.testing.assert_allclose(kind[other], kind[first], atol=2e-3, err_msg=f"{other} and {first}")
