"""Where an area of interest lies, beside a scene that it was meant for; and what a run makes of scenes outside it."""

from __future__ import annotations

import json
from pathlib import Path

import pyproj
import pytest
import shapely

from pipeline.config import OutputConfig, RunConfig
from pipeline.engine.local import LocalExecutor
from pipeline.errors import OutsideArea
from pipeline.georeference.georeference import Georeference
from pipeline.planning.area import area_of_interest
from pipeline.planning.plan import plan_scene
from pipeline.raster.scene import open_scene
from pipeline.runs.context import SILENT
from pipeline.runs.report import RunReport
from pipeline.runs.run import detect
from tests.support.pinned import CARD, pinned_oracle, write_pinned_scene

UTM = shapely.box(401_000, 4_997_000, 402_000, 4_999_000)
"""On the pinned scene, in its own CRS."""


def lonlat(geometry: shapely.Geometry) -> shapely.Geometry:
    to = pyproj.Transformer.from_crs(32632, "OGC:CRS84", always_xy=True)
    return shapely.transform(geometry, lambda points: shapely.get_coordinates(
        shapely.points(*to.transform(points[:, 0], points[:, 1]))))  # fmt: skip


def swapped(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.transform(geometry, lambda points: points[:, ::-1])


def geojson(path: Path, geometry: shapely.Geometry, crs: str | None = None) -> str:
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(geometry)}
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": [feature]}))
    return str(path)


UTM_NAME, LONLAT_NAME = "urn:ogc:def:crs:EPSG::32632", None
MISTAKES = {
    "latitude first": (swapped(lonlat(UTM)), LONLAT_NAME, "axes are swapped"),
    "metres without their CRS": (UTM, LONLAT_NAME, "coordinates of the scene's CRS, and not degrees"),
    "metres without their CRS, north first": (swapped(UTM), LONLAT_NAME, "with the axes swapped, and not degrees"),
    "north first": (swapped(UTM), UTM_NAME, "axes are swapped"),
    "degrees said to be metres": (lonlat(UTM), UTM_NAME, "name that CRS, EPSG:4326"),
    "latitude first said to be metres": (swapped(lonlat(UTM)), UTM_NAME, "latitude before longitude"),
    "metres of another zone": (UTM, "urn:ogc:def:crs:EPSG::32633", "coordinates of the scene's CRS: name"),
    "metres of who knows what": (shapely.box(1e6, 1e6, 2e6, 2e6), LONLAT_NAME, "these numbers are none"),
    "somewhere else": (shapely.box(100, 10, 101, 11), LONLAT_NAME, "draw it there"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_area_beside_the_scene_is_told_with_both_places_and_what_is_probably_wrong(
    mistake: str, tmp_path: Path
) -> None:
    geometry, crs, said = MISTAKES[mistake]
    write_pinned_scene(tmp_path / "a.tif")
    config = RunConfig(scene=(str(tmp_path / "a.tif"),), aoi=geojson(tmp_path / "area.geojson", geometry, crs))
    with pytest.raises(OutsideArea, match="does not touch the scene") as caught:
        plan_scene(config.scene[0], config, CARD, area_of_interest(config))
    sentence = str(caught.value)
    assert said in sentence
    west, _, _, north = geometry.bounds
    digits = 0 if west > 1000 else 4
    assert f"{west:.{digits}f}" in sentence
    assert f"{north:.{digits}f}" in sentence
    scene = Georeference.of(open_scene(config.scene[0], config.raster))
    assert scene is not None
    there = scene.footprint(crs or "OGC:CRS84")
    assert f"x {there[0]:.{0 if abs(there[0]) > 1000 else 4}f} to" in sentence


def run(tmp_path: Path, *scenes: str, aoi: str) -> RunReport:
    config = RunConfig(
        scene=tuple(str(tmp_path / name) for name in scenes), out=str(tmp_path / "out"), aoi=aoi,
        output=OutputConfig(preview_px=0),
    )  # fmt: skip
    return detect(config, CARD, LocalExecutor(pinned_oracle), SILENT)


def test_a_scene_outside_the_area_is_skipped_and_the_run_goes_on(tmp_path: Path) -> None:
    from rasterio.transform import Affine

    from tests.support.scenes import picture, write_geotiff

    write_pinned_scene(tmp_path / "inside.tif")
    write_geotiff(tmp_path / "beside.tif", picture(64, 64), crs="EPSG:32632", transform=Affine(10, 0, 7e5, 0, -10, 5e6))
    aoi = geojson(tmp_path / "area.geojson", lonlat(UTM))
    both = run(tmp_path, "beside.tif", "inside.tif", aoi=aoi)
    assert [scene.status for scene in both.scenes] == ["SKIPPED", "PUBLISHED"]
    assert both.exit_code == 0
    alone = run(tmp_path, "beside.tif", aoi=aoi)
    assert (alone.scenes[0].status, alone.exit_code) == ("SKIPPED", 2), "an area that no scene touches is a mistake"


def test_an_area_in_numbers_bounds_the_same_as_one_in_a_file(tmp_path: Path) -> None:
    write_pinned_scene(tmp_path / "a.tif")
    west, south, east, north = lonlat(UTM).bounds
    assert run(tmp_path, "a.tif", aoi=f"{west},{south},{east},{north}").exit_code == 0
    assert json.loads((tmp_path / "out/a/run.json").read_text())["tiles"]["done"] > 0
