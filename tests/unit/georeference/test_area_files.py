"""Areas of interest: four formats, all polygons of all layers, rings that bound something."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely

from pipeline.errors import ConfigError
from pipeline.georeference.area_files import read_aoi, read_area
from pipeline.georeference.georeference import Georeference
from pipeline.georeference.pixel_maps import AffineMap
from pipeline.planning.tiles import plan_tiles, touching
from pipeline.types import Lattice
from tests.support.areas import SQUARE, geojson

SQUARES = shapely.MultiPolygon([shapely.box(9, 50, 10, 51), shapely.box(9.5, 50, 11, 51)])


@pytest.mark.parametrize(
    ("suffix", "driver"), [("geojson", "GeoJSON"), ("gpkg", "GPKG"), ("shp", "ESRI Shapefile"), ("fgb", "FlatGeobuf")]
)
def test_an_area_of_interest_is_the_union_of_a_files_polygons(suffix: str, driver: str, tmp_path: Path) -> None:
    path = tmp_path / f"aoi.{suffix}"
    wkb = np.array([shapely.to_wkb(part) for part in SQUARES.geoms], object)
    pyogrio.raw.write(path, wkb, [], [], driver=driver, geometry_type="Polygon", crs="EPSG:4326")
    area, crs = read_aoi(str(path))
    assert area.equals(shapely.box(9, 50, 11, 51))
    assert crs is not None
    assert pyproj.CRS.from_user_input(crs).equals(4326, ignore_axis_order=True)


def test_an_area_in_another_crs_keeps_it(tmp_path: Path) -> None:
    wkb = np.array([shapely.to_wkb(shapely.box(4e5, 5e6, 5e5, 6e6))], object)
    pyogrio.raw.write(tmp_path / "a.gpkg", wkb, [], [], driver="GPKG", geometry_type="Polygon", crs="EPSG:32632")
    assert "32632" in read_aoi(str(tmp_path / "a.gpkg"))[1]


def test_a_bow_tie_is_repaired(tmp_path: Path) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": bow_tie}))
    area, _ = read_aoi(str(tmp_path / "a.geojson"))
    assert area.is_valid
    assert area.area == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no file"),
        ("not a map", "no vector file"),
        ('{"type":"FeatureCollection","features":[]}', "holds no polygon"),
        ('{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[1,2]}}', "holds no polygon"),
        ('{"type":"Feature","properties":{},"geometry":null}', "holds no polygon"),
    ],
)
def test_what_is_no_area_is_refused_in_one_sentence(content: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "aoi.geojson"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        read_aoi(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        ("[[0, 0], [1, 0], [NaN, 1], [0, 0]]", "coordinate NaN"),
        ("[[0, 0], [1, 0], [-Infinity, 1], [0, 0]]", "coordinate -Infinity"),
        ("[[0, 0], [1, 0], [1e999, 1], [0, 0]]", "."),
        ("[[0, 0], [1, 0], [1e300, 1e300], [0, 0]]", "not finite or beyond"),
        ("[[0, 0], [1, 0], [1, 1]]", "cannot be repaired|no polygon"),
        ("[[0, 0]]", "cannot be repaired|no polygon"),
        ("[[0, 0], [1, 1], [0, 0]]", "no polygon"),
        ("[]", "no polygon"),
        ('[["a", 0], [1, 0], [1, 1]]', "."),
        ("[" * 100_000, "no vector file"),
        ('{"a":' * 5_000 + "0" + "}" * 5_000, "."),
    ],
    ids=range(11),
)
def test_a_ring_that_bounds_nothing_is_one_sentence(ring: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        read_aoi(geojson(tmp_path / "a.geojson", ring))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["Point", "MultiPoint", "LineString"])
def test_points_and_lines_are_no_area(kind: str, tmp_path: Path) -> None:
    coordinates = {"Point": [1, 2], "MultiPoint": [[1, 2]], "LineString": [[1, 2], [3, 4]]}[kind]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": kind, "coordinates": coordinates}))
    with pytest.raises(ConfigError, match="no polygon"):
        read_aoi(str(tmp_path / "a.geojson"))


def coast(vertices: int) -> np.ndarray:
    """(N, 2) degrees of a closed ragged ring around (0, 0): bays of every size, no two shores that cross."""
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 1, vertices, endpoint=False)
    bays = np.interp(turn, np.linspace(0, 1, 20_001), rng.random(20_001))
    radius = 1 + 0.02 * bays + 2 / vertices * rng.random(vertices)
    ring = np.stack([radius * np.cos(2 * np.pi * turn), radius * np.sin(2 * np.pi * turn)], axis=1)
    return np.concatenate([ring, ring[:1]])


def test_a_million_vertices_are_read_and_laid_over_a_scene_in_seconds(tmp_path: Path) -> None:
    """Exactly, nothing simplified away; 25 s allows for a slow machine (3 were measured to read, 6 to lay over)."""
    ring = coast(1_000_000)
    wkb = np.array([shapely.to_wkb(shapely.Polygon(ring))], object)
    pyogrio.raw.write(tmp_path / "a.fgb", wkb, [], [], driver="FlatGeobuf", geometry_type="Polygon", crs="EPSG:4326")
    started = time.perf_counter()
    area, crs = read_aoi(str(tmp_path / "a.fgb"))
    scene = Georeference(
        pixel_map=AffineMap(np.array([[1e-4, 0], [0, -1e-4]]), np.array([-1.5, 1.5])),
        crs_wkt=pyproj.CRS.from_epsg(4326).to_wkt(), width=30_000, height=30_000,
    )  # fmt: skip
    laid = scene.area_to_scene(area, crs or "")
    hit = touching(plan_tiles(Lattice(width=30_000, height=30_000, scale_x=1, scale_y=1, gsd_m=None), 512, 64), laid)
    seconds = time.perf_counter() - started
    assert shapely.get_num_coordinates(area) == 1_000_001
    assert area.area == pytest.approx(shapely.area(shapely.Polygon(ring)))
    assert laid.area == pytest.approx(area.area * 1e8, rel=1e-9)
    assert 1000 < len(hit) < 4489
    assert seconds < 25


def layer(path: Path, box: shapely.Polygon | shapely.Point, name: str, crs: str | None, **how: object) -> None:
    wkb = np.array([shapely.to_wkb(box)], object)
    pyogrio.raw.write(path, wkb, [], [], layer=name, driver="GPKG", geometry_type=box.geom_type, crs=crs, **how)


@pytest.mark.parametrize("style", [str.upper, str.title])
@pytest.mark.parametrize("which", ["all", "siblings"])
def test_a_shapefile_keeps_its_crs_in_whatever_letters_its_files_are_named(
    style: Callable[[str], str], which: str, tmp_path: Path
) -> None:
    wkb = np.array([shapely.to_wkb(shapely.box(4e5, 5e6, 5e5, 6e6))], object)
    pyogrio.raw.write(
        tmp_path / "area.shp", wkb, [], [], driver="ESRI Shapefile", geometry_type="Polygon", crs="EPSG:32633"
    )
    for path in list(tmp_path.iterdir()):
        if path.suffix != ".shp" or which == "all":
            path.rename(tmp_path / style(path.name))
    name = style("area.shp") if which == "all" else "area.shp"
    area, crs = read_aoi(str(tmp_path / name))
    assert area.area == pytest.approx(1e11)
    assert pyproj.CRS.from_user_input(crs).to_epsg() == 32633


def test_every_polygon_of_every_layer_counts_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    layer(path, shapely.Point(1, 1), "buoys", "EPSG:4326")
    layer(path, shapely.box(0, 0, 1, 1), "harbour", "EPSG:4326", append=True)
    layer(path, shapely.box(5, 5, 6, 6), "anchorage", "EPSG:4326", append=True)
    drawn = read_area(str(path))
    assert drawn.geometry.area == pytest.approx(2)
    assert "harbour, anchorage" in drawn.notes[0]


def test_layers_of_several_crs_are_a_question(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    layer(path, shapely.box(0, 0, 1, 1), "harbour", "EPSG:4326")
    layer(path, shapely.box(4e5, 5e6, 5e5, 6e6), "anchorage", "EPSG:32632", append=True)
    with pytest.raises(ConfigError, match=r"harbour, anchorage.*ogr2ogr"):
        read_area(str(path))


def test_a_polygon_deep_in_collections_counts(tmp_path: Path) -> None:
    inner = {"type": "MultiPolygon", "coordinates": [[SQUARE], [[[x + 5, y] for x, y in SQUARE]]]}
    for _ in range(3):
        inner = {"type": "GeometryCollection", "geometries": [inner]}
    (tmp_path / "a.geojson").write_text(json.dumps(inner))
    assert read_aoi(str(tmp_path / "a.geojson"))[0].area == pytest.approx(2)


def test_an_area_without_a_crs_is_said_to_be_taken_in_the_scenes(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="crs"):
        layer(tmp_path / "a.gpkg", shapely.box(0, 0, 1, 1), "harbour", None)
    drawn = read_area(str(tmp_path / "a.gpkg"))
    assert drawn.crs is None
    assert "names no CRS" in " ".join(drawn.notes)


@pytest.mark.parametrize(
    ("text", "bounds"),
    [("7.7,44.2,7.8,44.3", (7.7, 44.2, 7.8, 44.3)), ("-10, 35, -5.5, 45", (-10, 35, -5.5, 45)),
     ("179,-20,-179,-18", (179, -20, 181, -18))],
)  # fmt: skip
def test_four_numbers_are_a_box_in_degrees(text: str, bounds: tuple[float, ...]) -> None:
    area, crs = read_aoi(text)
    assert area.bounds == pytest.approx(bounds)
    assert crs == "OGC:CRS84"


@pytest.mark.parametrize(
    "text", ["1,2,1,3", "1,3,2,2", "400000,4898000,402000,4900000", "1,2,nan,4", "44.2,97,44.3,98"]
)
def test_four_numbers_that_are_no_box_are_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="west,south,east,north"):
        read_aoi(text)
