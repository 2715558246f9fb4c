"""Polygons of any file and CRS → oriented boxes in the pixels of the images they lie in."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyarrow import parquet
from rasterio import Affine

from pipeline.annotations.source import Asked, Source
from pipeline.annotations.sources import read_source
from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.geometry.obb import obb_to_corners
from pipeline.georeference.georeference import Georeference
from pipeline.outputs.geopackage import write_gpkg
from pipeline.raster.scene import open_scene
from tests.support.outputs import CLASSES, UTM_32N, sample
from tests.support.scenes import GEOREFERENCES, UTM, picture, write_geotiff

BOXES = np.array([[60.0, 40, 30, 8, 0.5], [90, 70, 12, 5, -1.2], [20, 20, 16, 16, -np.pi / 2]])
NAMES = ("ship", "boat", "ship")
SUFFIXES = {"GeoJSON": ".geojson", "GPKG": ".gpkg", "ESRI Shapefile": ".shp", "FlatGeobuf": ".fgb"}


def image(folder: Path, kind: str = "utm_rotated", name: str = "a.tif") -> Path:
    folder.mkdir(exist_ok=True)
    crs, transform = GEOREFERENCES[kind]
    return write_geotiff(folder / name, picture(96, 128), crs=crs, transform=transform)


def polygons(path: Path, boxes: np.ndarray = BOXES) -> list[shapely.Polygon]:
    """Boxes in pixels of an image as rings in its CRS."""
    place = Georeference.of(open_scene(str(path), RasterConfig()))
    assert place is not None
    return [shapely.Polygon(place.scene_to_world(corners)) for corners in obb_to_corners(boxes)]


def frame(path: Path, names: Sequence[Any] = NAMES, column: str = "class", **more: Any) -> geopandas.GeoDataFrame:
    crs = open_scene(str(path), RasterConfig()).crs_wkt
    return geopandas.GeoDataFrame({column: list(names), **more}, geometry=polygons(path), crs=crs)


def read(annotations: Path, images: Path, **asked: Any) -> Source:
    return read_source(
        annotations, Asked(opened=lambda one: open_scene(str(one), RasterConfig()), images=images, **asked)
    )


@pytest.mark.parametrize("kind", ["utm_rotated", "geographic_south_up", "web_mercator"])
@pytest.mark.parametrize("driver", [*SUFFIXES, "GeoParquet"])
def test_every_format_over_every_georeference_gives_the_same_boxes(driver: str, kind: str, tmp_path: Path) -> None:
    """Drawn in the image's CRS and saved in longitude and latitude: each box is back to a tenth of a pixel."""
    picture_path = image(tmp_path / "images", kind)
    drawn = frame(picture_path).to_crs("EPSG:4326")
    path = tmp_path / f"no_matter{SUFFIXES.get(driver, '.parquet')}"
    if driver == "GeoParquet":
        drawn.to_parquet(path)
    else:
        drawn.to_file(path, driver=driver)
    source = read(path, tmp_path / "images")
    assert source.classes == ("boat", "ship")
    ((found, truth),) = source.scenes
    assert found == picture_path
    order = np.argsort(truth.boxes[:, 0])[::-1]  # FlatGeobuf keeps its own order
    expected = BOXES[[1, 0, 2]]
    np.testing.assert_allclose(obb_to_corners(truth.boxes[order]).mean(1), expected[:, :2], atol=0.1)
    np.testing.assert_allclose(truth.boxes[order, 2:4], expected[:, 2:4], atol=0.1)
    np.testing.assert_allclose(np.sin(2 * (truth.boxes[order[:2], 4] - expected[:2, 4])), 0, atol=0.02)
    assert truth.class_ids[order].tolist() == [0, 1, 1]
    assert not truth.ignore.any()


def test_a_polygon_of_many_corners_in_another_crs_becomes_the_smallest_rectangle(tmp_path: Path) -> None:
    """Outlines that somebody drew, in web mercator, over a UTM image; a point beside them has no area."""
    path = image(tmp_path / "images", "utm_north_up")
    drawn = frame(path)
    drawn.geometry = [one.segmentize(10.0) for one in drawn.geometry[:2]] + [drawn.geometry[2].centroid]
    drawn.to_crs("EPSG:3857").to_file(tmp_path / "a.gpkg")
    source = read(tmp_path / "a.gpkg", path)
    ((_, truth),) = source.scenes
    np.testing.assert_allclose(truth.boxes[:2, :4], BOXES[:2, :4], atol=0.1)
    assert any("1 of 3 features are no polygon" in one for one in source.notes)


def test_each_image_gets_what_lies_in_it(tmp_path: Path) -> None:
    """Two images of two zones, and a polygon that is in neither; one that hangs over an edge is no object."""
    first = image(tmp_path / "images", "utm_north_up")
    second = image(tmp_path / "images", "utm_south_zone", "b.tif")
    over = np.array([[-4.0, 30, 30, 8, 0.0]])
    rows = [*polygons(first), *polygons(first, over), *polygons(second, BOXES[:1]), shapely.box(0, 0, 9, 9)]
    systems = [UTM] * 4 + ["EPSG:32733"] + ["EPSG:4326"]
    parts = [geopandas.GeoSeries([row], crs=crs).to_crs("EPSG:4326")[0] for row, crs in zip(rows, systems, strict=True)]
    geopandas.GeoDataFrame({"geometry": parts}, crs="EPSG:4326").to_file(tmp_path / "a.geojson", driver="GeoJSON")
    source = read(tmp_path / "a.geojson", tmp_path / "images", classes=("ship",))
    (_, one), (_, other) = source.scenes
    assert (len(one), len(other)) == (4, 1)
    assert one.ignore.tolist() == [False, False, False, True]
    np.testing.assert_allclose(other.boxes[0, :4], BOXES[0, :4], atol=0.05)
    assert any("1 features lie in none" in note for note in source.notes)
    assert any("1 objects have their centre beyond" in note for note in source.notes)


def test_ignore_regions_come_from_a_second_file(tmp_path: Path) -> None:
    """An L of 60 pixels is no box of 60 x 60: what is covered is near the L."""
    path = image(tmp_path / "images", "utm_north_up")
    frame(path).to_file(tmp_path / "a.gpkg")
    corner = shapely.Polygon([(30, 30), (90, 30), (90, 38), (38, 38), (38, 90), (30, 90)])
    place = Georeference.of(open_scene(str(path), RasterConfig()))
    assert place is not None
    region = shapely.transform(corner, place.scene_to_world)
    geopandas.GeoDataFrame({"geometry": [region]}, crs=UTM).to_file(tmp_path / "regions.geojson", driver="GeoJSON")
    ((_, truth),) = read(tmp_path / "a.gpkg", path, ignore=tmp_path / "regions.geojson").scenes
    regions = truth[truth.ignore]
    cover = shapely.union_all(shapely.polygons(obb_to_corners(regions.boxes)))
    assert len(truth) - len(regions) == 3
    assert (regions.class_ids == -1).all()
    assert corner.difference(cover).area < 1
    assert cover.area < 1.3 * corner.area


def test_classes_are_found_or_asked_for(tmp_path: Path) -> None:
    path = image(tmp_path / "images")
    frame(path, column="Art").to_file(tmp_path / "a.gpkg")
    with pytest.raises(ConfigError, match=r"no column of .* \(it has Art\): name one with --class-column"):
        read(tmp_path / "a.gpkg", path)
    with pytest.raises(ConfigError, match="has no column 'art'; it has Art"):
        read(tmp_path / "a.gpkg", path, class_column="art")
    assert read(tmp_path / "a.gpkg", path, class_column="Art").classes == ("boat", "ship")
    assert read(tmp_path / "a.gpkg", path, classes=("thing",)).classes == ("thing",)
    with pytest.raises(ConfigError, match="has no class lorry; it has boat, ship"):
        read(tmp_path / "a.gpkg", path, class_column="Art", classes=("lorry",))


@pytest.mark.parametrize(("names", "ignored"), [(("ship", None, "ship"), 0), (("ship", None, "boat"), 1)])
def test_what_somebody_drew_without_a_class_is_the_only_one_or_none(
    names: tuple[Any, ...], ignored: int, tmp_path: Path
) -> None:
    path = image(tmp_path / "images")
    frame(path, names).to_file(tmp_path / "a.gpkg")
    source = read(tmp_path / "a.gpkg", path)
    assert source.scenes[0][1].ignore.sum() == ignored
    assert any("without a class" in one or "have no class" in one for one in source.notes)


@pytest.mark.parametrize("georeferenced", [True, False], ids=["UTM", "pixels alone"])
def test_a_result_of_ours_after_somebody_corrected_it(georeferenced: bool, tmp_path: Path) -> None:
    """One row deleted, one moved, one new without attributes: geometry is believed, px_* columns and scores are not."""
    crs = UTM_32N.to_wkt() if georeferenced else None
    path = tmp_path / "detections.gpkg"
    write_gpkg(sample(30, georeferenced=georeferenced).table(), path, crs, classes=CLASSES)
    rows = geopandas.read_file(path)
    if not georeferenced:  # the sample's scene has a side of 100,000 pixels
        rows.geometry = [shapely.transform(one, lambda at: at / 1000) for one in rows.geometry]
    kept = rows.iloc[1:].copy()
    moved = shapely.transform(kept.geometry.iloc[0], lambda at: at + np.array([0.05, 0.0]))
    kept.loc[kept.index[0], "geometry"] = moved
    added = geopandas.GeoDataFrame({"geometry": [kept.geometry.iloc[1]]}, crs=rows.crs)
    path.unlink()
    corrected = geopandas.pd.concat([kept, added])
    corrected.to_file(path)
    transform = Affine(10_000, 0, 400_000, 0, -10_000, 5_600_000) if georeferenced else None
    scene = write_geotiff(tmp_path / "scene.tif", picture(100, 100), crs=crs, transform=transform)
    source = read(path, scene)
    ((_, truth),) = source.scenes
    assert source.format.startswith("a corrected result of this program")
    assert (len(truth), truth.ignore.sum()) == (30, 1)
    assert any("1 features have no class: they are ignore regions" in one for one in source.notes)
    assert any("its scores are not read" in one for one in source.notes)
    centres = np.array([one.centroid.coords[0] for one in corrected.geometry.iloc[:-1]])
    expected = (centres - (400_000, 5_600_000)) / (10_000, -10_000) if georeferenced else centres
    np.testing.assert_allclose(truth.boxes[:29, :2], expected, atol=1e-6)


def test_a_row_that_says_it_is_of_another_image_is_not_of_this_one(tmp_path: Path) -> None:
    """Two dates of one place."""
    path = image(tmp_path / "images", name="may.tif")
    image(tmp_path / "images", name="june.tif")
    frame(path, scene_id=["may", "june", None]).to_file(tmp_path / "a.gpkg")
    scenes = {one.stem: len(truth) for one, truth in read(tmp_path / "a.gpkg", tmp_path / "images").scenes}
    assert scenes == {"june": 2, "may": 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1 and then nothing", "damaged, or no GeoParquet"),
        (b"what is this", "no vector file of an allowed format"),
        (json.dumps({"type": "FeatureCollection", "features": []}).encode(), "says what the objects are"),
    ],
)
def test_a_file_of_something_else_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = image(tmp_path / "images")
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "a.bin", path)
    assert said in str(refused.value)


def test_a_geopackage_that_is_still_open_elsewhere_is_refused(tmp_path: Path) -> None:
    """Its latest changes lie beside it."""
    path = image(tmp_path / "images")
    frame(path).to_file(tmp_path / "a.gpkg")
    (tmp_path / "a.gpkg-wal").write_bytes(b"pages")
    with pytest.raises(ConfigError, match="is open in another program"):
        read(tmp_path / "a.gpkg", path)


def test_a_place_on_earth_for_an_image_that_has_none_is_refused(tmp_path: Path) -> None:
    frame(image(tmp_path / "images")).to_file(tmp_path / "a.gpkg")
    bare = write_geotiff(tmp_path / "bare.tif", picture(96, 128), crs=None, transform=None)
    with pytest.raises(ConfigError, match="the image has no georeference"):
        read(tmp_path / "a.gpkg", bare)


def test_polygons_in_pixels_are_of_one_image_or_say_of_which(tmp_path: Path) -> None:
    """Else every image would have all of them."""
    for name in ("a.tif", "b.tif"):
        (tmp_path / "images").mkdir(exist_ok=True)
        write_geotiff(tmp_path / "images" / name, picture(96, 128), crs=None, transform=None)
    drawn = geopandas.GeoDataFrame({"class": NAMES}, geometry=[*map(shapely.Polygon, obb_to_corners(BOXES))])
    drawn.to_parquet(tmp_path / "drawn.parquet")
    with pytest.raises(ConfigError, match="no column scene_id that says which"):
        read(tmp_path / "drawn.parquet", tmp_path / "images")
    assert len(read(tmp_path / "drawn.parquet", tmp_path / "images" / "a.tif").scenes[0][1]) == 3
    drawn.assign(scene_id=["a", "b", "b"]).to_parquet(tmp_path / "told.parquet")
    assert [len(truth) for _, truth in read(tmp_path / "told.parquet", tmp_path / "images").scenes] == [1, 2]


def test_a_curved_polygon_in_a_geoparquet_is_one_sentence(tmp_path: Path) -> None:
    """GDAL makes lines of curves, but it does not read this one."""
    path = image(tmp_path / "images")
    frame(path).to_parquet(tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    kinds = struct.pack("<BI", 1, 10), struct.pack("<BI", 1, 2)  # CurvePolygon of a LineString
    wkb = [kinds[0] + one[5:9] + kinds[1] + one[9:] for one in table["geometry"].to_pylist()]
    at = table.column_names.index("geometry")
    parquet.write_table(table.set_column(at, "geometry", pa.array(wkb)), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="has a shape that cannot be read"):
        read(tmp_path / "a.parquet", path)


def test_an_image_across_the_antimeridian_has_what_lies_on_both_sides(tmp_path: Path) -> None:
    """Its longitudes go on beyond 180 degrees, those of polygons begin anew at -180."""
    east = Affine(1e-4, 0, 180 - 64e-4, 0, -1e-4, -16.0)
    path = write_geotiff(tmp_path / "a.tif", picture(96, 128), crs="EPSG:4326", transform=east)
    rings = [shapely.transform(one, lambda at: at - [360 * (at[:, :1].mean() > 180), 0]) for one in polygons(path)]
    drawn = geopandas.GeoDataFrame({"class": NAMES}, geometry=rings, crs="EPSG:4326")
    assert (drawn.bounds.minx < 0).tolist() == [False, True, False]
    drawn.to_file(tmp_path / "drawn.geojson")
    ((_, truth),) = read(tmp_path / "drawn.geojson", path).scenes
    np.testing.assert_allclose(truth.boxes[:, :2], BOXES[:, :2], atol=0.01)
