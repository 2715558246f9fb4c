"""Annotated images → prepared scenes, by the code that detection reads with."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.annotations import Annotations
from pipeline.annotations.source import Asked
from pipeline.annotations.sources import read_source
from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.geometry.obb import obb_to_corners
from pipeline.raster.scene import open_scene
from pipeline.training.data.prepare import (
    chosen,
    prepare_scene,
    raster_config,
    save_all,
    shrunk,
)
from pipeline.training.data.scenes import load_scenes
from pipeline.types import Lattice
from tests.support.prepared import BOX, scene_with, white_rectangle


def test_coco_and_dota_of_one_image_prepare_to_the_same_scene(tmp_path: Path) -> None:
    """A pixel scene (PNG) with one ship, described both ways, keeps its truth; without a GSD nothing is resampled."""
    from PIL import Image

    scene = scene_with(BOX)
    Image.fromarray(scene.pixels).save(tmp_path / "a.png")
    corners = obb_to_corners(BOX)[0].ravel().tolist()
    document = {
        "categories": [{"id": 1, "name": "ship"}],
        "images": [{"id": 1, "file_name": "a.png", "width": 240, "height": 240}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [corners], "bbox": [0, 0, 1, 1], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 1, "rbox": [50, 60, 9, 5, 0.1], "segmentation": [], "ignore": 1},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(" ".join(map(str, corners)) + " ship 0")
    coco, dota = (
        [prepare_scene(image, truth, None, RasterConfig()) for image, truth in annotated(source, tmp_path)]
        for source in (tmp_path / "a.json", tmp_path / "labels")
    )
    assert coco[0].truth.ignore.tolist() == [False, True]
    np.testing.assert_allclose(coco[0].truth.boxes[0], BOX[0], atol=1e-9)
    np.testing.assert_allclose(dota[0].truth.boxes, BOX, atol=1e-9)
    np.testing.assert_array_equal(coco[0].pixels, scene.pixels)
    save_all(coco, tmp_path / "prepared")
    (loaded,) = load_scenes(tmp_path / "prepared")
    np.testing.assert_array_equal(loaded.pixels, scene.pixels)
    np.testing.assert_array_equal(loaded.truth.boxes, coco[0].truth.boxes)


def annotated(
    source: Path, images: Path, classes: tuple[str, ...] | None = None
) -> tuple[tuple[Path, Annotations], ...]:
    opened = partial(open_scene, config=RasterConfig())
    asked = Asked(opened=lambda image: opened(str(image)), images=images, classes=classes)
    return read_source(source, asked).scenes


def three_classes(path: Path, image: str) -> Path:
    """A COCO file of horizontal boxes: a van, a car, a region where nobody looked, and a car to be ignored."""
    names = ("car", "van", "bus", "dont_care")
    objects = [(2, [40, 60, 20, 10]), (1, [100, 90, 40, 12]), (4, [0, 0, 30, 30]), (1, [60, 10, 8, 8])]
    document = {
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
        "images": [{"id": 1, "file_name": image, "width": 240, "height": 240}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": category, "bbox": box, "segmentation": [], "ignore": int(i == 4)}
            for i, (category, box) in enumerate(objects, start=1)
        ],
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("classes", "class_ids", "ignore"),
    [
        (None, [1, 0, -1, 0], [False, False, True, True]),
        (("car",), [-1, 0, -1, 0], [True, False, True, True]),
        (("van", "car"), [0, 1, -1, 1], [False, False, True, True]),
    ],
)
def test_classes_that_are_not_learnt_become_ignore_regions(
    classes: tuple[str, ...] | None, class_ids: list[int], ignore: list[bool], tmp_path: Path
) -> None:
    """The network's class numbers follow the order asked for; a region for every class stays one."""
    (tmp_path / "a.png").touch()
    ((_, truth),) = annotated(three_classes(tmp_path / "a.json", "a.png"), tmp_path, classes)
    assert truth.class_ids.tolist() == class_ids
    assert truth.ignore.tolist() == ignore
    np.testing.assert_allclose(truth.boxes[1], [120, 96, 40, 12, 0])


def test_a_class_the_file_does_not_have_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(ConfigError, match=r"no class lorry; it has car, van, bus"):
        annotated(three_classes(tmp_path / "a.json", "a.png"), tmp_path, ("lorry", "car"))


def test_a_grey_jpeg_without_a_gsd_is_shrunk_like_detection_shrinks(tmp_path: Path) -> None:
    """One band thrice; half the side; the white rectangle lies where its shrunk box says."""
    from PIL import Image

    grey = scene_with(BOX).pixels[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=95)
    truth = Annotations(BOX, np.zeros(1, np.int64), np.zeros(1, np.bool_))
    half = prepare_scene(tmp_path / "a.jpg", truth, None, RasterConfig(), shrink=2)
    assert half.pixels.shape == (120, 120, 3)
    assert (half.pixels == half.pixels[..., :1]).all()
    np.testing.assert_allclose(half.truth.boxes[0], [60, 45, 20, 6, 0.5], atol=1e-9)
    measured = white_rectangle(half.pixels)
    np.testing.assert_allclose(measured[:4], half.truth.boxes[0, :4], atol=1)


def test_shrinking_a_lattice_keeps_its_ground() -> None:
    lattice = shrunk(Lattice(width=1001, height=640, scale_x=0.6, scale_y=0.8, gsd_m=6.0), 4)
    assert (lattice.width, lattice.height) == (251, 160)
    assert (lattice.scale_x, lattice.scale_y, lattice.gsd_m) == (2.4, 3.2, 24.0)
    assert shrunk(lattice, 1.0) == lattice
    with pytest.raises(ConfigError, match=r"at least 1, not 0\.5"):
        shrunk(lattice, 0.5)


def near_infrared(path: Path) -> Path:
    """One band of 16 bit: land above, then water, of which much is as dark as the darkest, and a ship."""
    import rasterio

    values = np.full((1, 64, 64), 120, np.uint16)
    values[:, :20] = 3000
    values[:, 30:34, 20:40] = 1500
    values[:, 40:] = 100
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=1, dtype="uint16", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(values)
        file.descriptions = ("B08",)
    return path


def test_one_band_is_prepared_as_one_and_dark_water_is_no_hole(tmp_path: Path) -> None:
    """The first hundredth of the values becomes 0, which means "no data": what is valid must not."""
    truth = Annotations(np.array([[30.0, 32, 20, 4, 0]]), np.zeros(1, np.int64), np.zeros(1, np.bool_))
    scene = prepare_scene(near_infrared(tmp_path / "a.tif"), truth, None, RasterConfig(), bands=("nir",))
    assert scene.pixels.shape == (64, 64, 1)
    assert scene.pixels.min() == 1
    assert scene.pixels[32, 30, 0] > 100


def test_bands_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="looks at nir, swir"):
        prepare_scene(
            near_infrared(tmp_path / "a.tif"), Annotations.empty(), None, RasterConfig(), bands=("nir", "swir")
        )
    with pytest.raises(ConfigError, match=r"names 1 for the 3 of --bands \(red, green, blue\)"):
        raster_config(("red", "green", "blue"), (4,))


class TestChosen:
    IMAGES = tuple((Path(f"{name}.jpg"), Annotations.empty()) for name in ("day_01", "day_02", "night_01"))

    @pytest.mark.parametrize(
        ("only", "without", "kept"),
        [
            ((), (), ["day_01", "day_02", "night_01"]),
            (("day*",), (), ["day_01", "day_02"]),
            ((), ("*_01",), ["day_02"]),
            (("day*", "night*"), ("*2",), ["day_01", "night_01"]),
        ],
    )
    def test_images_are_chosen_by_patterns_of_their_names(
        self, only: tuple[str, ...], without: tuple[str, ...], kept: list[str]
    ) -> None:
        assert [image.stem for image, _ in chosen(self.IMAGES, only, without)] == kept

    @pytest.mark.parametrize(("only", "without"), [(("dusk*",), ()), ((), ("dusk*",))])
    def test_a_pattern_that_matches_nothing_is_refused(self, only: tuple[str, ...], without: tuple[str, ...]) -> None:
        with pytest.raises(ConfigError, match=r"none of the 3 annotated images is called 'dusk\*'"):
            chosen(self.IMAGES, only, without)

    def test_choosing_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="leave none of the 3"):
            chosen(self.IMAGES, ("day*",), ("day*",))
