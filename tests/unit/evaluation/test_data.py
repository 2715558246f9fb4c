"""Annotated images from every kind of folder; images that shrink."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.annotations.annotations import EVERY_CLASS
from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, SceneError
from pipeline.evaluation.data import judged_by, read_data, shrunk
from pipeline.geometry.obb import obb_to_corners
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.raster.overview import read_thumbnail
from pipeline.raster.scene import open_scene
from pipeline.types import Stretch
from tests.support.annotated import annotation, document, written
from tests.support.scenes import picture, write_geotiff

GREY = Stretch(kind="none", low=(0.0,) * 3, high=(255.0,) * 3, source="test")


class TestFolders:
    def test_images_without_annotations_are_looked_at_too(self, tmp_path: Path) -> None:
        written(tmp_path, document([annotation()]), images=True)
        data = read_data(tmp_path, "val")
        assert list(data.images) == list(data.truth) == ["a.png", "b.png"]
        assert len(data.truth["b.png"]) == 0
        assert read_data(tmp_path / "annotations" / "val.json", "val").images == data.images

    def test_a_missing_image_is_named(self, tmp_path: Path) -> None:
        written(tmp_path, document([annotation()]), images=True)
        (tmp_path / "images" / "b.png").unlink()
        with pytest.raises(ConfigError, match=r"1 annotated images are not there, first .*b\.png; say where with"):
            read_data(tmp_path, "val")

    def test_no_image_at_all_is_refused(self, tmp_path: Path) -> None:
        written(tmp_path, document([], images=[]))
        with pytest.raises(ConfigError, match="the annotations name no image"):
            read_data(tmp_path, "val")

    def test_another_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"neither annotations/val\.json nor labelTxt/"):
            read_data(tmp_path, "val")

    def test_classes_the_model_does_not_know_become_ignore_regions(self, tmp_path: Path) -> None:
        rows = [annotation(), annotation(category_id=2, bbox=[50, 10, 20, 8])]
        written(tmp_path, document(rows), images=True)
        data = judged_by(read_data(tmp_path, "val"), ("plane", "car"))
        assert data.classes == ("car",)
        assert data.truth["a.png"].class_ids.tolist() == [EVERY_CLASS, 0]
        assert data.truth["a.png"].ignore.tolist() == [True, False]
        assert data.notes == ("the model does not know ship: ignore regions for every class",)
        with pytest.raises(ConfigError, match="the model finds plane but the annotations name ship, car"):
            judged_by(read_data(tmp_path, "val"), ("plane",))

    def test_a_dota_folder(self, tmp_path: Path) -> None:
        """Header lines, difficult objects, an image without objects, and classes from what occurs."""
        for name in ("P0001", "P0002"):
            (tmp_path / "val" / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(60, 100)).save(tmp_path / "val" / "images" / f"{name}.png")
        (tmp_path / "val" / "labelTxt").mkdir()
        boxes = np.array([[40.0, 20.0, 18.0, 6.0, 0.5], [70.0, 40.0, 12.0, 5.0, -0.9]])
        words = [" ".join(f"{value:.3f}" for value in ring.ravel()) for ring in obb_to_corners(boxes)]
        lines = ["imagesource:GoogleEarth", "gsd:0.146", f"{words[0]} ship 0", f"{words[1]} large-vehicle 1"]
        (tmp_path / "val" / "labelTxt" / "P0001.txt").write_text("\n".join(lines))
        (tmp_path / "val" / "labelTxt" / "P0002.txt").write_text("")
        data = read_data(tmp_path, "val")
        assert data.classes == ("large-vehicle", "ship")
        assert list(data.truth) == list(data.images) == ["P0001.png", "P0002.png"]
        truth = data.truth["P0001.png"]
        assert rotated_iou_pairs(truth.boxes, boxes).min() > 0.999
        assert (truth.class_ids.tolist(), truth.ignore.tolist()) == ([1, 0], [False, True])
        assert len(data.truth["P0002.png"]) == 0
        (tmp_path / "val" / "images" / "P0002.png").unlink()
        with pytest.raises(ConfigError, match="first P0002"):
            read_data(tmp_path, "val")

    def test_a_dota_folder_with_flaws(self, tmp_path: Path) -> None:
        """Boxes without area are left out and said; a coordinate that is none, or two pictures of a name, refused."""
        for folder in ("images", "labelTxt"):
            (tmp_path / folder).mkdir()
        Image.fromarray(picture(60, 100)).save(tmp_path / "images" / "P1.png")
        label = tmp_path / "labelTxt" / "P1.txt"
        label.write_text("5 5 5 5 5 5 5 5 ship 0\n10 10 30 10 30 20 10 20 ship 0\n")
        data = read_data(tmp_path, "val")
        assert len(data.truth["P1.png"].boxes) == 1
        assert data.notes == ("1 annotated boxes have no area and were left out",)
        label.write_text("nan 10 30 10 30 20 10 20 ship 0\n")
        with pytest.raises(ConfigError, match=r"P1\.txt, line 1: a coordinate is not a number"):
            read_data(tmp_path, "val")
        Image.fromarray(picture(60, 100)).save(tmp_path / "images" / "P1.jpg")
        with pytest.raises(ConfigError, match=r"P1\.jpg and P1\.png in .* have one name"):
            read_data(tmp_path, "val")


class TestShrinking:
    def test_pixels_and_truth_shrink_together(self, tmp_path: Path) -> None:
        """A grey JPEG with a bright square: in the copy the square is where its annotation now says."""
        grey = np.full((90, 120), 40, np.uint8)
        grey[30:50, 60:90] = 220
        content = document([annotation(bbox=[60, 30, 30, 20])])
        content["images"] = [{"id": 1, "file_name": "a.jpg", "width": 120, "height": 90}]
        written(tmp_path, content)
        (tmp_path / "images").mkdir()
        Image.fromarray(grey).save(tmp_path / "images" / "a.jpg", quality=98)
        small = shrunk(read_data(tmp_path, "val"), 2, tmp_path, RasterConfig())
        scene = open_scene(str(small.images["a.jpg"]), RasterConfig())
        assert (scene.width, scene.height, scene.georeferenced) == (60, 45, False)
        pixels, _ = read_thumbnail(scene, GREY, RasterConfig(), 60)
        rows, columns = np.nonzero(pixels[..., 0] > 130)
        bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert bounds == [30, 15, 45, 25]
        np.testing.assert_allclose(small.truth["a.jpg"].boxes, [[37.5, 20, 15, 10, 0]])

    def test_scenes_with_a_place_on_earth_are_not_shrunk(self, tmp_path: Path) -> None:
        written(tmp_path, document([], images=[{"id": 1, "file_name": "a.tif"}]))
        (tmp_path / "images").mkdir()
        write_geotiff(tmp_path / "images" / "a.tif", picture(64, 64))
        with pytest.raises(ConfigError, match="is georeferenced; choose its lattice with --gsd"):
            shrunk(read_data(tmp_path, "val"), 2, tmp_path, RasterConfig())

    def test_an_image_that_a_setting_lets_in_is_shrunk_too(self, tmp_path: Path) -> None:
        """What is read of it stays as ever: the other settings are for whoever reads the copies."""
        written(tmp_path, document([], images=[{"id": 1, "file_name": "a.tif"}]))
        (tmp_path / "images").mkdir()
        pixels = np.repeat(np.arange(1, 6, dtype=np.uint8) * 40, 64 * 64).reshape(5, 64, 64).transpose(1, 2, 0)
        write_geotiff(tmp_path / "images" / "a.tif", pixels, crs=None, transform=None)
        data = read_data(tmp_path, "val")
        with pytest.raises(SceneError, match="max_bands"):
            shrunk(data, 2, tmp_path, RasterConfig(max_bands=4))
        settings = RasterConfig(max_bands=5, bands=(3, 2, 1), stretch="fixed", stretch_range=(0, 120), nodata=40)
        scene = open_scene(str(shrunk(data, 2, tmp_path, settings).images["a.tif"]), RasterConfig())
        small, _ = read_thumbnail(scene, GREY, RasterConfig(), 32)
        assert (small == [40, 80, 120]).all()

    def test_a_damaged_image_is_a_scene_error(self, tmp_path: Path) -> None:
        written(tmp_path, document([annotation()]), images=True)
        (tmp_path / "images" / "b.png").write_bytes(b"no picture")
        with pytest.raises(SceneError, match=r"b\.png"):
            shrunk(read_data(tmp_path, "val"), 2, tmp_path, RasterConfig())
