"""Where a scene lies, from the command line to the files: what people's files say of it, lack, and get wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from rasterio.transform import Affine, RPCTransformer

from jobs import detect_scene
from pipeline.planning.places import NO_PLACE
from tests.conftest import ROOT
from tests.support.harbours import small_harbour
from tests.support.rpcs import as_gdal, as_rpb, rational_polynomials
from tests.support.scenes import NORTH_UP, picture, write_geotiff

LOCAL = ("--executor", "local", "--output.preview_px", "0")
BOUND = "+proj=utm +zone=32 +ellps=intl +towgs84=-87,-98,-121"
BOUND_LONLAT = "+proj=longlat +ellps=intl +towgs84=-87,-98,-121"


def detect(scene: Path, out: Path, *more: str) -> int:
    return detect_scene.main(["--scene", str(scene), "--out", str(out), *LOCAL, *more])


def record(folder: Path, scene_id: str) -> dict[str, Any]:
    """What run.json says of a scene that was published in ``folder``/out."""
    content: dict[str, Any] = json.loads((folder / "out" / scene_id / "run.json").read_text())
    return content


def test_a_warning_is_said_once_stands_in_the_record_and_in_the_dry_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene = write_geotiff(tmp_path / "photo.tif", picture(120, 120), crs=None, transform=None)
    assert detect(scene, tmp_path / "out") == 0
    assert capfd.readouterr().err.count(f"warning: photo: {NO_PLACE}") == 1
    assert record(tmp_path, "photo")["warnings"] == [NO_PLACE]
    assert detect(scene, tmp_path / "out", "--dry-run") == 0
    assert capfd.readouterr().out.count(f"warning: {NO_PLACE}") == 1


def test_a_scene_of_fine_pixels_is_detected_in_one_tile_and_in_many(tmp_path: Path) -> None:
    """At 0.1 m a pixel no tile holds the model's longest ship: nothing is lost for that, and the record says it."""
    fine = Affine(0.1, 0.0, 500_000.0, 0.0, -0.1, 5_000_000.0)
    one = write_geotiff(tmp_path / "one.tif", picture(150, 200), transform=fine)
    many = write_geotiff(tmp_path / "many.tif", picture(150, 600), transform=fine)
    assert detect(one, tmp_path / "out", "--tiling.gsd", "native") == 0
    assert record(tmp_path, "one")["warnings"] == []
    assert detect(many, tmp_path / "out", "--tiling.gsd", "native") == 0
    (said,) = record(tmp_path, "many")["warnings"]
    assert "gives way" in said
    assert "--tiling.tile_px" in said


@pytest.mark.parametrize(
    "crs", [BOUND, BOUND_LONLAT, "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18", "EPSG:25832+7837"]
)
def test_a_crs_of_any_kind_is_planned_and_published(
    crs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CRS with TOWGS84 has no name of its own; the scenes behind it are planned too."""
    degrees = "longlat" in crs
    transform = Affine(1e-4, 0.0, 9.0, 0.0, -1e-4, 44.0) if degrees else NORTH_UP
    odd = write_geotiff(tmp_path / "odd.tif", picture(120, 120), crs=crs, transform=transform)
    sound = write_geotiff(tmp_path / "sound.tif", picture(120, 120))
    assert detect(odd, tmp_path / "out", "--dry-run", "--scene", str(sound)) == 0
    said = capsys.readouterr().out
    assert "error" not in said
    assert "EPSG:32633" in said
    assert detect(odd, tmp_path / "out") == 0
    for name in ("detections.parquet", "detections.geojson", "detections.gpkg"):
        assert (tmp_path / "out" / "odd" / name).exists(), name
    geopandas.read_parquet(tmp_path / "out" / "odd" / "detections.parquet")
    geopandas.read_file(tmp_path / "out" / "odd" / "detections.gpkg")


def test_a_scene_of_rpcs_is_published_on_earth(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Level-1 images: resampled to the model's GSD, with a GeoJSON at the places GDAL says, at a height it says."""
    harbour = small_harbour(tmp_path / "harbour.tif")
    rpc = rational_polynomials(harbour.bounds.width, harbour.bounds.height)
    rpc = replace(rpc, lat=(rpc.lat[0], 20 * rpc.lat[1]), lon=(rpc.lon[0], 20 * rpc.lon[1]))  # 10 m a pixel
    with rasterio.open(harbour.path) as file:
        pixels = file.read()
    scene = write_geotiff(tmp_path / "level1.tif", pixels.transpose(1, 2, 0), crs=None, transform=None)
    (tmp_path / "level1.RPB").write_text(as_rpb(rpc))
    assert detect(scene, tmp_path / "out") == 0
    (said,) = record(tmp_path, "level1")["warnings"]
    assert "at 310 m" in said
    assert said in capfd.readouterr().err
    found = geopandas.read_file(tmp_path / "out" / "level1" / "detections.geojson")
    table = pq.read_table(tmp_path / "out" / "level1" / "detections.parquet")
    assert len(found) >= 5
    with RPCTransformer(as_gdal(rpc)) as transformer:
        lon, lat = shapely.get_coordinates(shapely.centroid(np.asarray(found.geometry))).T
        rows, columns = transformer.rowcol(lon, lat, zs=[310.0] * len(found), op=lambda value: value)
    assert np.abs(columns - table["px_cx"].to_numpy()).max() < 0.05
    assert np.abs(rows - table["px_cy"].to_numpy()).max() < 0.05
    assert detect(scene, tmp_path / "out", "--dry-run") == 0
    assert "RPC" in capfd.readouterr().out


def test_a_scene_with_a_world_file_is_published_with_the_users_crs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene = write_geotiff(tmp_path / "ORTHO.TIF", picture(120, 120), crs=None, transform=None)
    (tmp_path / "ORTHO.TFW").write_text("10.0\n0.0\n0.0\n-10.0\n400005.0\n4899995.0\n")
    assert detect(scene, tmp_path / "out") == 3
    assert "--raster.crs EPSG:" in capfd.readouterr().err
    assert detect(scene, tmp_path / "out", "--raster.crs", "EPSG:32632") == 0
    assert record(tmp_path, "ORTHO")["config"]["raster"]["crs"] == "EPSG:32632"
    geo = json.loads(pq.read_schema(tmp_path / "out" / "ORTHO" / "detections.parquet").metadata[b"geo"])
    assert geo["columns"]["geometry"]["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    assert detect(scene, tmp_path / "out", "--raster.crs", "none", "--force") == 0
    assert record(tmp_path, "ORTHO")["warnings"] == [NO_PLACE]


def test_a_datum_whose_grids_are_absent_is_told_in_the_run_the_record_and_the_plan(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    transform = Affine(10.0, 0.0, 780_000.0, 0.0, -10.0, 3_320_000.0)
    scene = write_geotiff(tmp_path / "nad27.tif", picture(120, 120), crs="EPSG:26715", transform=transform)
    assert detect(scene, tmp_path / "out") == 0
    shift = record(tmp_path, "nad27")["datum_shift"]
    assert shift["accuracy_m"] >= 5
    assert "us_noaa_conus.tif" in shift["missing_grids"]
    (said,) = record(tmp_path, "nad27")["warnings"]
    assert f"accuracy of {shift['accuracy_m']:g} m" in said
    assert said in capfd.readouterr().err
    assert detect(scene, tmp_path / "out", "--dry-run") == 0
    assert said in capfd.readouterr().out


KESTREL = (sys.executable, "-m", "jobs.cli")
GOOD = {"authority": "EPSG", "code": 3035}


def job(elsewhere: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A job in a shell that was made ready for another installation of PROJ and GDAL."""
    names = ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_AUX_DB")
    foreign = {name: str(elsewhere) for name in names} | {"GDAL_SKIP": "GTiff", "PROJ_NETWORK": "ON"}
    done = subprocess.run(
        [*KESTREL, *map(str, arguments)], cwd=ROOT, env={**os.environ, **foreign}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done


@pytest.fixture
def laea(tmp_path: Path) -> Path:
    transform = Affine(10.0, 0.0, 4_200_000.0, 0.0, -10.0, 3_350_000.0)
    return write_geotiff(tmp_path / "laea.tif", picture(120, 120), crs="EPSG:3035", transform=transform)


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_another_installations_data_changes_no_byte_of_a_result(executor: str, laea: Path, tmp_path: Path) -> None:
    flags = ("--executor", executor, "--cluster.workers", "1", "--output.preview_px", "0")
    said = job(tmp_path / "other", "detect", "--scene", laea, "--out", tmp_path / "foreign", *flags).stderr
    assert "GDAL_DATA, GDAL_DRIVER_PATH, GDAL_SKIP, PROJ_AUX_DB, PROJ_DATA" in said
    assert detect(laea, tmp_path / "own") == 0
    for name in ("detections.parquet", "detections.geojson", "detections.gpkg"):
        assert (tmp_path / "foreign/laea" / name).read_bytes() == (tmp_path / "own/laea" / name).read_bytes(), name
    geo = json.loads(pq.read_schema(tmp_path / "foreign/laea/detections.parquet").metadata[b"geo"])
    assert geo["columns"]["geometry"]["crs"]["id"] == GOOD
    plan = job(tmp_path / "other", "detect", "--scene", laea, "--out", tmp_path / "foreign", *flags, "--dry-run").stdout
    assert "EPSG:3035" in plan
    assert "ignored" in plan


def test_every_other_job_uses_its_own_data_too(tmp_path: Path) -> None:
    scene, other = tmp_path / "harbour.tif", tmp_path / "other"
    job(other, "make-scene", "--width", 256, "--height", 256, "--crs", "EPSG:3035", "--origin", 4_200_000, 3_350_000,
        "--out", scene, "--quiet")  # fmt: skip
    with rasterio.open(scene) as file:
        assert file.crs == rasterio.CRS.from_epsg(3035)
    annotations = scene.with_suffix(".coco.json")
    job(other, "train", "prepare", "--annotations", annotations, "--images", tmp_path, "--gsd", 10, "--out",
        tmp_path / "prepared")  # fmt: skip
    assert (tmp_path / "prepared" / "harbour.npz").exists()
    job(other, "evaluate", "--annotations", annotations, "--images", tmp_path)


def test_a_notebook_keeps_its_environment_and_gets_the_right_places(laea: Path, tmp_path: Path) -> None:
    code = (
        "import os, rasterio; from pipeline.detectors.weights import load; from pipeline.notebook import detect_frame; "
        f"frame = detect_frame({str(laea)!r}, load('builtin:ships-s2', 'cpu', 'float32', 1)); "
        "print(frame.crs.to_authority(), os.environ['PROJ_DATA'], os.environ['GDAL_DATA'])"
    )
    env = {**os.environ, "PROJ_DATA": str(tmp_path), "GDAL_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["('EPSG',", "'3035')", str(tmp_path), str(tmp_path)], done.stderr
