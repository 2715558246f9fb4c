"""COCO's files: what is read, what is refused, what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.annotations.annotations import EVERY_CLASS
from pipeline.annotations.coco import is_coco, read_annotations
from pipeline.errors import ConfigError
from pipeline.geometry.obb import aabb_to_obb, canonical_obb, obb_to_aabb, obb_to_corners
from pipeline.geometry.overlap import rotated_iou_pairs
from pipeline.types import FloatArray
from tests.support.annotated import annotation, document, written


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


WHAT_IS_COCO = {
    "plain.json": ('{"images": []}', True),
    "with a mark.txt": ('\ufeff \n{"images": []}', True),
    "damaged.json": ("images", True),
    "damaged.geojson": ("{", False),
    "polygons.json": ('{"type": "FeatureCollection", "features": []}', False),
    "table.parquet": ("PAR1", False),
}


@pytest.mark.parametrize("name", WHAT_IS_COCO)
def test_what_is_coco_is_found_by_what_is_in_it(name: str, tmp_path: Path) -> None:
    """One rule for those who learn and those who judge; of what is no JSON its name decides which sentence it gets."""
    content, coco = WHAT_IS_COCO[name]
    (tmp_path / name).write_text(content)
    assert is_coco(tmp_path / name) == coco
    assert not is_coco(tmp_path / "not there.json")


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
            (document([annotation(bbox=[1, 2, 10**400, 4])]), "cannot be read as COCO annotations"),
            (document([annotation(bbox=[1, 2, 1e300, 4])]), "not finite, or in no image"),
            (document([], categories=[{"id": float("inf"), "name": "a"}]), "cannot be read as COCO annotations"),
            (document([], images=[["id", 1]]), "cannot be read as COCO annotations"),
        ],
    )
    def test_each_ends_in_one_sentence(self, tmp_path: Path, content: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError, match=said) as caught:
            read_annotations(written(tmp_path, content))
        assert "val.json" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_lists_in_lists_without_end_are_one_sentence(self, tmp_path: Path) -> None:
        path = tmp_path / "deep.json"
        path.write_text('{"annotations": ' + "[" * 100_000)
        assert is_coco(path)
        with pytest.raises(ConfigError, match="cannot be read as COCO annotations"):
            read_annotations(path)

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
