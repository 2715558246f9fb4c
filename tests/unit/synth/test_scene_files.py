"""jobs/make_scene.py: files that other programs read, complete or absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.warp import transform

from jobs.make_scene import main
from pipeline.annotations.coco import read_annotations
from pipeline.synth.known import ObjectField
from pipeline.types import Window

SMALL = ["--kind", "field", "--width", "700", "--height", "300", "--seed", "3", "--quiet"]
FIELD = ObjectField(seed=3, width=700, height=300)
WHOLE = Window(x=0, y=0, width=700, height=300)


def test_the_file_holds_the_scene_and_says_where_it_is(tmp_path: Path) -> None:
    assert main([*SMALL, "--out", str(tmp_path / "a.tif"), "--gsd", "0.5", "--crs", "EPSG:32718"]) == 0
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs.to_epsg() == 32718
        assert file.transform[0] == 0.5
        assert file.block_shapes[0] == (512, 512)
        assert np.array_equal(file.read().transpose(1, 2, 0), FIELD.render(WHOLE))
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "a.truth.geojson", "a.coco.json"}


def test_truth_on_the_ground_is_truth_in_pixels(tmp_path: Path) -> None:
    """GeoJSON corners, brought back to pixels by another library, are the corners of the objects."""
    assert main([*SMALL, "--out", str(tmp_path / "a.tif")]) == 0
    features = json.loads((tmp_path / "a.truth.geojson").read_text())["features"]
    truth = FIELD.objects_in(WHOLE).boxes
    assert len(features) == len(truth) > 5
    with rasterio.open(tmp_path / "a.tif") as file:
        back = ~file.transform
        for feature, box in zip(features, truth, strict=True):
            ring = np.array(feature["geometry"]["coordinates"][0])
            assert shapely.LinearRing(ring).is_ccw  # RFC 7946 §3.1.6
            x, y = transform("EPSG:4326", file.crs, *ring.T)
            points = np.array([back @ point for point in zip(x, y, strict=True)])
            np.testing.assert_allclose(points[:4].mean(axis=0), box[:2], atol=1e-3)
            sides = np.linalg.norm(np.diff(points, axis=0), axis=1)
            np.testing.assert_allclose(sorted(sides)[::2], sorted(box[2:4]), atol=2e-3)
            assert feature["properties"]["px_w"] == box[2]


def test_the_coco_file_is_read_by_our_own_evaluation(tmp_path: Path) -> None:
    assert main([*SMALL, "--out", str(tmp_path / "a.tif"), "--crs", "none", "--classes", "car,boat"]) == 0
    truth = read_annotations(tmp_path / "a.coco.json")
    assert truth.classes == ("car", "boat")
    np.testing.assert_allclose(truth.scenes["a.tif"].boxes[:, :4], FIELD.objects_in(WHOLE).boxes[:, :4], atol=1e-6)
    assert not (tmp_path / "a.truth.geojson").exists()


def test_a_sparse_scene_stores_the_share_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks that are there hold the whole scene's pixels; the others take no room, and read as nodata."""
    flags = ["--kind", "field", "--width", "6000", "--height", "3000", "--seed", "3", "--quiet"]
    assert main([*flags, "--stored-share", "0.4", "--out", str(tmp_path / "s.tif")]) == 0
    assert main([*flags, "--out", str(tmp_path / "w.tif")]) == 0
    with rasterio.open(tmp_path / "s.tif") as sparse, rasterio.open(tmp_path / "w.tif") as whole:
        stored = {
            (row, column): sparse.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1) is not None
            for row in range(6)
            for column in range(12)
        }
        assert sparse.nodata == 0
        for (row, column), window in sparse.block_windows(1):
            expected = whole.read(window=window) if stored[row, column] else 0
            assert (sparse.read(window=window) == expected).all()
    there = sum(stored.values())
    assert 0.25 < there / 72 < 0.55
    assert f"{there} of 72 blocks are stored" in capsys.readouterr().out
    truth, everything = (read_annotations(tmp_path / f"{name}.coco.json").scenes[f"{name}.tif"].boxes for name in "sw")
    assert 0.2 * len(everything) < len(truth) < 0.6 * len(everything)
    assert all(stored[int(y // 512), int(x // 512)] for x, y in truth[:, :2])


def test_a_harbour_is_sixteen_bit(tmp_path: Path) -> None:
    flags = ["--kind", "harbour", "--width", "200", "--height", "150", "--quiet"]
    assert main([*flags, "--out", str(tmp_path / "h.tif")]) == 0
    with rasterio.open(tmp_path / "h.tif") as file:
        assert file.dtypes == ("uint16",) * 3
        assert file.read().max() > 2000


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--density", "5000"], 2, "without touching"),
        (["--width", "0"], 2, "positive --width"),
        (["--crs", "EPSG:99999999"], 2, "is no CRS"),
        (["--stored-share", "30"], 2, "above 0 and up to 1"),
    ],
    ids=["too dense", "no width", "no such CRS", "no share"],
)
def test_what_cannot_be_made_ends_with_one_sentence_and_no_files(
    flags: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *flags, "--out", str(tmp_path / "a.tif")]) == code
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert main([*SMALL, "--out", str(tmp_path / "file" / "a.tif")]) == 5
    assert "cannot be written" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "metres per pixel" in text
