"""What places a scene: transforms, points and RPCs, in the file or beside it, and what the user says of its CRS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, SceneNotGeoreferenced
from pipeline.georeference.crs import same_crs
from pipeline.raster.overview import measure_stretch
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.types import RationalPolynomials, Scene
from tests.support.reading import CONFIG, native
from tests.support.rpcs import WORLD_WKT, as_gdal, as_rpb, as_rpc_text, rational_polynomials
from tests.support.scenes import NORTH_UP, ground_control_points, picture, write_geotiff

RPC = rational_polynomials(60, 40)
WORLD_FILE = "10.0\n0.0\n0.0\n-10.0\n500005.0\n4999995.0\n"
"""NORTH_UP, told from the centre of the first pixel as world files do."""
PLACE = tuple(NORTH_UP)[:6]


def opened(path: Path, **settings: object) -> Scene:
    return open_scene(str(path), RasterConfig(**settings))  # type: ignore[arg-type]


def bare(folder: Path, name: str = "a.tif", driver: str = "GTiff") -> Path:
    return write_geotiff(folder / name, picture(40, 60), crs=None, transform=None, driver=driver)


def with_rpcs(path: Path) -> Path:
    with rasterio.open(path, "r+") as file:
        file.rpcs = as_gdal(RPC)
    return path


@pytest.mark.parametrize(
    ("name", "driver", "beside"),
    [
        ("a.tif", "GTiff", "a.tfw"), ("A.TIF", "GTiff", "A.TFW"), ("a.tiff", "GTiff", "a.tiffw"),
        ("a.tif", "GTiff", "a.wld"), ("a.jpg", "JPEG", "a.jgw"), ("a.jpg", "JPEG", "a.jpgw"),
        ("a.png", "PNG", "a.pgw"), ("a.jp2", "JP2OpenJPEG", "a.j2w"),
    ],
)  # fmt: skip
def test_a_world_file_and_the_crs_that_the_user_names_place_a_scene(
    name: str, driver: str, beside: str, tmp_path: Path
) -> None:
    path = bare(tmp_path, name, driver)
    (tmp_path / beside).write_text(WORLD_FILE)
    with pytest.raises(SceneNotGeoreferenced, match=r"a transform but no CRS; name it, e.g. --raster.crs EPSG:32633"):
        opened(path)
    scene = opened(path, crs="EPSG:32633")
    assert scene.transform == pytest.approx(PLACE)
    assert scene.crs_wkt is not None
    assert same_crs(scene.crs_wkt, str(rasterio.CRS.from_epsg(32633).to_wkt()))
    assert scene.warnings == ()


def test_control_points_without_a_crs_get_the_users(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", picture(40, 60), crs=None, transform=None)
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "r+") as file:
        file.gcps = (ground_control_points(60, 40), rasterio.CRS())
    with pytest.raises(SceneNotGeoreferenced, match=r"ground control points but no CRS; name it, e.g. --raster.crs"):
        opened(path)
    assert len(opened(path, crs="EPSG:32633").gcps) == 9


def test_the_users_crs_wins_over_the_files_and_the_contradiction_is_said(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", picture(40, 60))
    scene = opened(path, crs="EPSG:32632")
    assert scene.crs_wkt is not None
    assert same_crs(scene.crs_wkt, str(rasterio.CRS.from_epsg(32632).to_wkt()))
    (said,) = scene.warnings
    for word in ("EPSG:32633", "EPSG:32632", "every place is wrong if the file is right", "leave --raster.crs out"):
        assert word in said, said


def test_the_files_own_crs_named_again_is_no_contradiction(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", picture(40, 60))
    assert opened(path, crs="EPSG:32633").warnings == ()
    assert opened(path, crs="+proj=utm +zone=33 +datum=WGS84").warnings == ()


def test_no_crs_is_a_choice_too(tmp_path: Path) -> None:
    """What lies on Mars, or nowhere, can be looked at in pixels."""
    mars = write_geotiff(tmp_path / "mars.tif", picture(40, 60), crs="+proj=eqc +R=3396190 +units=m")
    scene = opened(mars, crs="none")
    assert (scene.crs_wkt, scene.transform, scene.gcps, scene.rpc) == (None, None, (), None)
    (tmp_path / "b.tfw").write_text(WORLD_FILE)
    assert not opened(bare(tmp_path, "b.tif"), crs="None").georeferenced


def test_a_crs_alone_gives_no_place(tmp_path: Path) -> None:
    with pytest.raises(SceneNotGeoreferenced, match=r"no transform for --raster.crs EPSG:32633 .*world file"):
        opened(bare(tmp_path), crs="EPSG:32633")
    with pytest.raises(ConfigError, match=r"--raster.crs EPSG:99999999 is no CRS"):
        opened(bare(tmp_path), crs="EPSG:99999999")


def told_alike(found: RationalPolynomials | None, expected: RationalPolynomials = RPC) -> bool:
    assert found is not None
    pairs = ("line_num", "line_den", "sample_num", "sample_den", "line", "sample", "lat", "lon", "height", "height_m")
    return all(getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12) for name in pairs)


@pytest.mark.parametrize("where", ["inside", "a.RPB", "a_RPC.TXT", "a_rpc.txt"])
def test_rpcs_in_the_file_or_beside_it_place_a_scene(where: str, tmp_path: Path) -> None:
    path = bare(tmp_path)
    if where == "inside":
        with pytest.warns(NotGeoreferencedWarning):
            with_rpcs(path)
    else:
        (tmp_path / where).write_text(as_rpb(RPC) if where.endswith("RPB") else as_rpc_text(RPC))
    scene = opened(path)
    assert told_alike(scene.rpc)
    assert scene.georeferenced
    assert scene.crs_wkt is not None
    assert same_crs(scene.crs_wkt, WORLD_WKT)
    (said,) = scene.warnings
    assert "placed by its RPCs, all of it at 310 m" in said
    assert "HEIGHT_OFF" in said
    assert told_alike(opened(path, rpc_height_m=25.5).rpc, replace(RPC, height_m=25.5))
    assert "at 25.5 m above the WGS84 ellipsoid (--raster.rpc_height_m)" in opened(path, rpc_height_m=25.5).warnings[0]


def test_a_transform_or_points_win_over_rpcs_and_it_is_said(tmp_path: Path) -> None:
    both = with_rpcs(write_geotiff(tmp_path / "a.tif", picture(40, 60)))
    points = with_rpcs(write_geotiff(tmp_path / "b.tif", picture(40, 60), gcps=ground_control_points(60, 40)))
    for path, kind in ((both, "a transform"), (points, "ground control points")):
        scene = opened(path)
        assert scene.rpc is None
        (said,) = scene.warnings
        assert f"placed by {kind}, and the RPCs are left aside" in said


def test_rpcs_win_over_half_a_georeference(tmp_path: Path) -> None:
    path = with_rpcs(write_geotiff(tmp_path / "a.tif", picture(40, 60), crs=None, transform=NORTH_UP))
    scene = opened(path)
    assert (scene.transform, scene.gcps) == (None, ())
    assert told_alike(scene.rpc)
    assert "have no CRS and are left aside" in scene.warnings[1]
    assert opened(path, crs="EPSG:32633").transform == pytest.approx(PLACE)


def test_a_crs_for_a_scene_of_rpcs_is_said_to_be_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "a_RPC.TXT").write_text(as_rpc_text(RPC))
    scene = opened(bare(tmp_path), crs="EPSG:32633")
    assert told_alike(scene.rpc)
    assert "--raster.crs EPSG:32633 is not used" in scene.warnings[1]


@pytest.mark.parametrize(
    "text", ["", "LINE_OFF: 1\n", "x" * 100, as_rpc_text(RPC).replace("LAT_OFF: ", "LAT_OFF: east")]
)
def test_a_text_of_rpcs_that_makes_no_sense_costs_no_sound_scene(text: str, tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", picture(40, 60))
    (tmp_path / "a_RPC.TXT").write_text(text)
    scene = opened(path)
    assert scene.transform == pytest.approx(PLACE)
    (said,) = scene.warnings
    assert "RPC" in said
    with SceneReader(scene, native(scene), measure_stretch(scene, CONFIG), CONFIG) as reader:
        assert reader.read(native(scene).window)[1].all()


def test_a_degenerate_transform_is_refused_with_what_to_do(tmp_path: Path) -> None:
    flat = Affine(10.0, 0.0, 500_000.0, 10.0, 0.0, 5_000_000.0)
    with pytest.raises(SceneNotGeoreferenced, match=r"degenerate transform .*--raster.crs none"):
        opened(write_geotiff(tmp_path / "a.tif", picture(40, 60), transform=flat))
