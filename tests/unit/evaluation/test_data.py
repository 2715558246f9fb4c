"""Annotated images from every kind of folder; data that is not as it should be; DOTA files out and in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.annotations.annotations import EVERY_CLASS
from pipeline.annotations.coco import read_annotations
from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, SceneError
from pipeline.evaluation.data import judged_by, read_data, shrunk
from pipeline.evaluation.dota_submission import read_submission, write_submission
from pipeline.geometry.obb import canonical_obb, obb_to_corners
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.raster.overview import read_thumbnail
from pipeline.raster.scene import open_scene
from pipeline.types import Detections, Frame, Stretch
from tests.support.scenes import picture, write_geotiff

GREY = Stretch(kind="none", low=(0.0,) * 3, high=(255.0,) * 3, source="test")


def annotation(**values: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 8], "segmentation": [], **values}


def document(annotations: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 60}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "ship"}, {"id": 2, "name": "car"}],
        "annotations": annotations,
        **values,
    }


def written(folder: Path, content: dict[str, Any], *, images: bool = False) -> Path:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    path = folder / "annotations" / "val.json"
    path.write_text(json.dumps(content))
    if images:
        (folder / "images").mkdir(exist_ok=True)
        for row in content["images"]:
            Image.fromarray(picture(60, 100)).save(folder / "images" / row["file_name"])
    return path


class TestBadAnnotations:
    """What may be wrong with an annotation file: a sentence for what cannot be judged, a note for what is left out."""

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (document([annotation(category_id=9)]), "annotation 1 has the category_id 9, which is not listed"),
            (document([annotation(image_id="x")]), "annotation 1 has the image_id 'x', which is not listed"),
            (document([annotation(bbox=[1, 2, float("nan"), 4])]), "annotation 1 has a coordinate that is not finite"),
            (document([annotation(segmentation=[[0, 0, 1, 0, 1, float("inf"), 0, 1]])]), "that is not finite"),
            (document([], images=[{"id": 1, "file_name": n} for n in "ab"]), "more than one image has the id 1"),
            (document([], images=[{"id": n, "file_name": "a"} for n in (1, 2)]), "has the file_name 'a'"),
            (document([], categories=[{"id": 1, "name": n} for n in "ab"]), "more than one category has the id 1"),
            (document([], categories=[{"id": n, "name": "a"} for n in (1, 2)]), "has the name 'a'"),
            (document([annotation(bbox=[1, 2, 3])]), "cannot be read as COCO annotations"),
            (document([{"id": 3, "image_id": 1, "category_id": 1}]), "cannot be read as COCO annotations"),
        ],
    )
    def test_each_ends_in_one_sentence(self, tmp_path: Path, content: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError, match=said) as caught:
            read_annotations(written(tmp_path, content))
        assert "val.json" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_annotation_ids_may_repeat(self, tmp_path: Path) -> None:
        rows = [annotation(), annotation(bbox=[50, 10, 20, 8])]
        assert len(read_annotations(written(tmp_path, document(rows))).scenes["a.png"]) == 2

    def test_boxes_without_area_or_outside_are_left_out_and_said(self, tmp_path: Path) -> None:
        flat = [annotation(bbox=[10, 10, 0, 8]), annotation(bbox=[10, 10, 5, -1])]
        flat += [annotation(segmentation=[[5, 5, 9, 5, 9, 5, 5, 5]])]
        outside = [annotation(bbox=[100, 10, 5, 5]), annotation(bbox=[-9, 10, 5, 5])]
        read = read_annotations(written(tmp_path, document([annotation(), *flat, *outside])))
        assert len(read.scenes["a.png"]) == 1
        assert read.notes == (
            "3 annotated boxes have no area and were left out",
            "2 annotated boxes lie outside their image and were left out",
        )

    def test_boxes_across_the_edge(self, tmp_path: Path) -> None:
        """A horizontal one is clipped to the image; an oriented one stays: what is left of it is no rectangle. Nothing
        is known of an image whose size the file does not say."""
        corners = obb_to_corners(np.array([[98.0, 30.0, 20.0, 6.0, 0.4]]))[0].ravel().tolist()
        rows = [annotation(bbox=[90, 10, 20, 8]), annotation(segmentation=[corners])]
        rows += [annotation(bbox=[900, 10, 20, 8], image_id=2)]
        read = read_annotations(written(tmp_path, document(rows)))
        np.testing.assert_allclose(read.scenes["a.png"].boxes[0], [95, 14, 10, 8, 0])
        np.testing.assert_allclose(read.scenes["a.png"].boxes[1], [98, 30, 20, 6, 0.4], atol=1e-9)
        assert len(read.scenes["b.png"]) == 1
        assert read.notes == ()


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


class TestSubmission:
    boxes = canonical_obb(np.array([[40.0, 20, 18, 6, 0.5], [70, 40, 12, 5, -0.9], [10, 10, 9, 4, 1.2]]))

    def found(self, rows: list[int], class_ids: list[int]) -> Detections:
        scores = np.linspace(0.9, 0.3, len(rows))
        return Detections(self.boxes[rows], scores, np.array(class_ids, np.int64), Frame.SCENE)

    def test_what_is_written_is_read_back(self, tmp_path: Path) -> None:
        """Names without suffix, one file a class, none for the class of which nothing was found."""
        (tmp_path / "Task1_ship.txt").write_text("of an earlier run\n")
        found = {"P0002.png": self.found([0, 1], [0, 2]), "P0001.tif": self.found([2], [2]), "P3": self.found([], [])}
        files = write_submission(found, ("car", "ship", "plane"), tmp_path)
        assert [path.name for path in files] == ["Task1_car.txt", "Task1_plane.txt"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["Task1_car.txt", "Task1_plane.txt"]
        lines = files[1].read_text().splitlines()
        assert [line.split()[0] for line in lines] == ["P0001", "P0002"]
        assert all(len(line.split()) == 10 for line in lines)
        back = read_submission(tmp_path, ("car", "ship", "plane"))
        assert sorted(back) == ["P0001", "P0002"]
        for name, before in (("P0002", found["P0002.png"]), ("P0001", found["P0001.tif"])):
            np.testing.assert_allclose(back[name].boxes, before.boxes, atol=1e-3)
            np.testing.assert_allclose(back[name].scores, before.scores, atol=1e-6)
            assert back[name].class_ids.tolist() == before.class_ids.tolist()

    def test_nothing_found_is_no_file(self, tmp_path: Path) -> None:
        assert write_submission({"P1.png": self.found([], [])}, ("car",), tmp_path) == []
        assert read_submission(tmp_path, ("car",)) == {}

    def test_names_that_the_format_cannot_hold(self, tmp_path: Path) -> None:
        nothing = self.found([], [])
        with pytest.raises(ConfigError, match="white space"):
            write_submission({"a b.png": nothing}, ("car",), tmp_path)
        with pytest.raises(ConfigError, match="cannot tell them apart"):
            write_submission({"a.png": nothing, "a.tif": nothing}, ("car",), tmp_path)

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("Task1_car.txt", "P1 0.5 1 2 3\n", "line 1 is no detection"),
            ("Task1_car.txt", "P1 0.5 1 2 3 4 5 6 7 8\n\n", "line 2 is no detection"),
            ("Task1_bus.txt", "P1 0.5 1 2 3 4 5 6 7 8\n", "is of class 'bus'"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path: Path, name: str, text: str, said: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_submission(tmp_path, ("car",))
