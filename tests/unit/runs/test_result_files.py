"""The preview shows the area of interest, and where it is small that part alone; run.json has its geometry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image

from pipeline.config import OutputConfig, RasterConfig, RunConfig
from pipeline.engine.local import LocalExecutor
from pipeline.planning.area import area_of_interest
from pipeline.planning.plan import plan_scene
from pipeline.raster.overview import measure_stretch, read_thumbnail
from pipeline.raster.scene import open_scene
from pipeline.runs.context import SILENT
from pipeline.runs.result_files import Shown, preview_window
from pipeline.runs.run import detect
from pipeline.types import Window
from tests.support.pinned import CARD, pinned_oracle, write_pinned_scene
from tests.support.scenes import KINDS

NAMED = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}


def published(tmp_path: Path, **settings: Any) -> tuple[dict[str, Any], Image.Image]:
    config = RunConfig(scene=(str(tmp_path / "a.tif"),), out=str(tmp_path / "out"), **settings)
    assert detect(config, CARD, LocalExecutor(pinned_oracle), SILENT).exit_code == 0
    record = json.loads((tmp_path / "out/a/run.json").read_text())
    with Image.open(tmp_path / "out/a/preview.png") as picture:
        return record, picture.copy()


def area(tmp_path: Path, geometry: shapely.Geometry) -> str:
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(geometry)}
    (tmp_path / "area.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "crs": NAMED, "features": [feature]})
    )
    return str(tmp_path / "area.geojson")


@pytest.mark.parametrize("side_m", [3000, 600])
def test_the_area_is_in_the_picture_and_in_the_record(side_m: int, tmp_path: Path) -> None:
    """4 km of 400 px; detections and the bright area lie in the picture where the small window of it puts them."""
    write_pinned_scene(tmp_path / "a.tif")
    box = shapely.box(400_500, 4_999_500 - side_m, 400_500 + side_m, 4_999_500)
    record, picture = published(tmp_path, aoi=area(tmp_path, box))
    kept = record["area_of_interest"]
    assert shapely.geometry.shape(kept["geometry"]).equals(box)
    assert kept["source"].endswith("area.geojson")
    assert "32632" in kept["crs"]
    assert record["detections"] > 0
    plain = np.asarray(picture).astype(int)
    outline = (np.abs(plain - (120, 220, 255)).sum(axis=-1) < 30).sum()
    assert outline > 100


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ((401_000, 4_997_000, 401_600, 4_999_000), (84, 84, 92, 232)),
        ((400_000, 4_999_800, 400_200, 5_000_200), (0, 0, 36, 36)),
        ((400_000, 4_996_500, 403_500, 5_000_000), (0, 0, 400, 400)),
    ],
    ids=["a part of it", "a corner, and beyond", "most of it"],
)
def test_a_preview_shows_a_small_area_and_the_whole_scene_for_a_large_one(
    box: tuple[float, ...], window: tuple[int, ...], tmp_path: Path
) -> None:
    """Scene pixels of 10 m, with a margin."""
    write_pinned_scene(tmp_path / "a.tif")
    config = RunConfig(scene=(str(tmp_path / "a.tif"),), aoi=area(tmp_path, shapely.box(*box)))
    shown = preview_window(plan_scene(config.scene[0], config, CARD, area_of_interest(config)))
    assert (shown.x, shown.y, shown.width, shown.height) == pytest.approx(window, abs=2)


def test_detections_lie_in_the_picture_where_they_lie_in_the_window() -> None:
    shown = Shown(window=Window(x=100, y=50, width=40, height=20), pixels=np.zeros((60, 120, 3), np.uint8))
    assert shown.to_picture(np.array([[100, 50], [120, 60], [140, 70]])).tolist() == [[0, 0], [60, 30], [120, 60]]


@pytest.mark.parametrize("window", [(60, 20, 30, 40), (0, 0, 140, 100), (100, 90, 40, 10)])
@pytest.mark.parametrize("kind", ["uint16", "overviews"])
def test_a_thumbnail_of_a_window_shows_that_window(kind: str, window: tuple[int, ...], tmp_path: Path) -> None:
    scene = open_scene(str(KINDS[kind](tmp_path)), RasterConfig())
    stretch = measure_stretch(scene, RasterConfig())
    whole, _ = read_thumbnail(scene, stretch, RasterConfig(), 4096)
    x, y, width, height = window
    part, valid = read_thumbnail(
        scene, stretch, RasterConfig(), 4096, within=Window(x=x, y=y, width=width, height=height)
    )
    assert np.array_equal(part, whole[y : y + height, x : x + width])
    assert valid.all()
    small, _ = read_thumbnail(scene, stretch, RasterConfig(), 10, within=Window(x=x, y=y, width=width, height=height))
    assert max(small.shape[:2]) == 10
    assert small.mean() == pytest.approx(part.mean(), rel=0.1)


def test_the_preview_of_a_mask_is_not_black(tmp_path: Path) -> None:
    pixels = np.zeros((400, 400), np.uint8)
    pixels[100:300, 100:300] = 1
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=400, height=400, count=1, dtype="uint8", crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    _, picture = published(tmp_path, output=OutputConfig(preview_px=400))
    assert (np.asarray(picture) == 255).all(axis=-1).sum() > 20_000


def test_the_preview_of_a_small_scene_is_small_unless_another_is_asked_for(tmp_path: Path) -> None:
    """The small one is made of the picture that the run has at hand, and shows what the large one does."""
    heights, means = {}, {}
    for asked in ("auto", 300, 1600):
        place = tmp_path / str(asked)
        place.mkdir()
        write_pinned_scene(place / "a.tif")
        _, picture = published(place, output=OutputConfig(preview_px=asked))  # type: ignore[arg-type]
        heights[asked] = picture.height
        means[asked] = np.asarray(picture.convert("RGB"), float).mean()
    assert heights["auto"] < heights[300] - 30 < heights[1600] - 100
    assert means["auto"] == pytest.approx(means[1600], rel=0.25)


def test_an_area_of_many_corners_is_simplified_in_the_record(tmp_path: Path) -> None:
    write_pinned_scene(tmp_path / "a.tif")
    circle = shapely.Point(402_000, 4_998_000).buffer(1500, quad_segs=10_000)
    record, _ = published(tmp_path, aoi=area(tmp_path, circle))
    kept = record["area_of_interest"]
    assert kept["simplified_by"] > 0
    shape = shapely.geometry.shape(kept["geometry"])
    assert shapely.get_num_coordinates(shape) <= 10_000
    assert shape.symmetric_difference(circle).area < 1e-4 * circle.area
