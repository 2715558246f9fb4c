"""The whole job, from the command line to the published files, on scenes of every kind that people bring."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from rasterio.errors import NotGeoreferencedWarning

from jobs import detect_scene
from pipeline.annotations.coco import read_annotations
from pipeline.detectors.weights import load
from pipeline.evaluation.average_precision import operating_point
from pipeline.evaluation.matching import match_classes
from pipeline.evaluation.report import detections_from_columns
from pipeline.notebook import detect_frame
from tests.conftest import ROOT
from tests.support.harbours import HarbourCase, small_harbour

SMALL = ("--executor", "local", "--tiling.tile_px", "224", "--tiling.halo_px", "48")
PLACE = ["px_cx", "px_cy", "px_w", "px_h", "px_angle_rad", "score"]


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.fixture(scope="module")
def whole(harbour: HarbourCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published for the small harbour."""
    out = tmp_path_factory.mktemp("whole")
    assert detect_scene.main([*SMALL, "--scene", str(harbour.path), "--out", str(out)]) == 0
    return out / "harbour"


def rows(folder: Path) -> pd.DataFrame:
    return pd.DataFrame(pq.read_table(folder / "detections.parquet").to_pydict())


@pytest.mark.ray
@pytest.mark.parametrize("name", ["genoa"])
def test_real_scene_from_end_to_end_on_a_cluster(
    name: str, kestrel_data: Path, ray_cluster: None, tmp_path: Path
) -> None:
    """16-bit Sentinel-2 that training never saw: some annotated ships are found, each where it lies, and every other
    reader of the files sees the same."""
    scene = kestrel_data / "sen2ships" / "images" / f"{name}.tif"
    assert detect_scene.main(["--scene", str(scene), "--out", str(tmp_path), "--cluster.workers", "2"]) == 0
    folder = tmp_path / name
    found = rows(folder)
    record = json.loads((folder / "run.json").read_text())
    assert record["work"]["executor"] == "ray"
    assert record["tiles"]["done"] == record["tiles"]["planned"]
    assert record["detections"] == len(found) > 0

    known = read_annotations(kestrel_data / "sen2ships" / "annotations" / "val.json")
    detections = detections_from_columns({column: found[column].to_numpy() for column in found}, known.classes)
    point = operating_point(list(match_classes([detections], [known.scenes[scene.name]], (0.5,)).values()), 0.0)
    assert point.right >= 3, f"{point.right} of {point.right + point.missed} ships found"

    with rasterio.open(scene) as file:
        bounds, crs = shapely.box(*file.bounds), file.crs
    parquet = geopandas.read_parquet(folder / "detections.parquet")
    assert parquet.crs == crs
    assert parquet.geometry.centroid.within(bounds).all()
    package = geopandas.read_file(folder / "detections.gpkg")
    web = geopandas.read_file(folder / "detections.geojson")
    assert len(parquet) == len(package) == len(web)
    assert list(parquet.detection_id) == list(web.detection_id)
    apart_m = parquet.geometry.hausdorff_distance(web.geometry.to_crs(crs))
    assert apart_m.max() < 0.02, "seven decimals of a degree are about a centimetre"
    assert parquet.length_m.between(20, 600).all()


def test_band_files_in_jpeg_2000_are_the_same_scene(harbour: HarbourCase, whole: Path, tmp_path: Path) -> None:
    """Sentinel-2 as it is delivered: one JPEG 2000 a band, in the order given; lossless, so the boxes are the same."""
    files = []
    with rasterio.open(harbour.path) as file:
        for band, name in enumerate(("B04", "B03", "B02"), start=1):
            path = tmp_path / f"{name}.jp2"
            profile = {"driver": "JP2OpenJPEG", "width": file.width, "height": file.height, "count": 1,
                       "dtype": file.dtypes[0], "crs": file.crs, "transform": file.transform,
                       "QUALITY": 100, "REVERSIBLE": "YES"}  # fmt: skip
            with rasterio.open(path, "w", **profile) as one:
                one.write(file.read(band), 1)
            files.append(str(path))
    assert detect_scene.main([*SMALL, "--scene", ",".join(files), "--out", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    pd.testing.assert_frame_equal(rows(folder)[PLACE], rows(whole)[PLACE])


def test_png_is_a_pixel_scene(tmp_path: Path, harbour: HarbourCase) -> None:
    """No georeference: boxes in pixels, no metres, no GeoJSON, and nothing claims a place on Earth."""
    with rasterio.open(harbour.path) as file:
        pixels = np.clip(file.read() / 8, 0, 255).astype(np.uint8).repeat(2, 1).repeat(2, 2)
    path = tmp_path / "photo.png"
    profile = {"driver": "PNG", "width": 720, "height": 720, "count": 3, "dtype": "uint8"}
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    threshold = ("--detector.score_threshold", "0.2")
    assert detect_scene.main([*SMALL, *threshold, "--scene", str(path), "--out", str(tmp_path / "out")]) == 0
    folder = tmp_path / "out" / "photo"
    assert not (folder / "detections.geojson").exists()
    table = pq.read_table(folder / "detections.parquet")
    assert table.num_rows > 0
    assert json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]["crs"] is None
    assert table["length_m"].null_count == table["azimuth_deg"].null_count == table.num_rows
    assert geopandas.read_file(folder / "detections.gpkg").geometry.within(shapely.box(-40, -40, 760, 760)).all()


def test_area_of_interest_in_another_crs(harbour: HarbourCase, whole: Path, tmp_path: Path) -> None:
    """What lies inside is found as in the whole scene, nothing outside is reported, and fewer tiles are looked at."""
    everything = geopandas.read_parquet(whole / "detections.parquet")
    west, south, east, north = everything.total_bounds
    area = shapely.box(west, south, (west + east) / 2, north)
    aoi = tmp_path / "area.geojson"
    geopandas.GeoSeries([shapely.segmentize(area, 50.0)], crs=everything.crs).to_crs("EPSG:4326").to_file(aoi)
    argv = [*SMALL, "--scene", str(harbour.path), "--aoi", str(aoi), "--out", str(tmp_path / "out")]
    assert detect_scene.main(argv) == 0
    found = rows(tmp_path / "out" / "harbour")
    inside = everything[everything.geometry.centroid.within(area)]
    assert 0 < len(inside) < len(everything)
    assert sorted(found.px_cx) == sorted(inside.px_cx)
    record = json.loads((tmp_path / "out" / "harbour" / "run.json").read_text())
    assert record["tiles"]["skipped_outside_aoi"] > 0


def test_what_the_user_says_of_the_scene_is_recorded(harbour: HarbourCase, tmp_path: Path) -> None:
    said = {"acquired": "2026-05-01T10:20:00Z", "sensor": "S2A", "attribution": "ours", "mission": "drill"}
    entries = ",".join(f"{key}={value}" for key, value in said.items())
    argv = [*SMALL, "--scene", str(harbour.path), "--meta", f"[{entries}]", "--out", str(tmp_path)]
    assert detect_scene.main(argv) == 0
    record = json.loads((tmp_path / "harbour" / "run.json").read_text())
    assert record["model"]["licence"] == "Apache-2.0"
    metadata = pq.read_schema(tmp_path / "harbour" / "detections.parquet").metadata
    text = json.dumps(record) + " ".join(value.decode(errors="replace") for value in metadata.values())
    for value in said.values():
        assert text.count(value) >= 2, f"{value} is missing in run.json or in the Parquet metadata"


def test_a_second_run_replaces_the_first_with_the_same_bytes(harbour: HarbourCase, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "harbour")
    argv = [*SMALL, "--scene", str(harbour.path), "--out", str(tmp_path)]
    assert detect_scene.main(argv) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["harbour"]
    for name in ("detections.parquet", "detections.geojson", "detections.gpkg", "preview.png"):
        assert (tmp_path / "harbour" / name).read_bytes() == (whole / name).read_bytes(), name


def test_dry_run_tells_the_plan_of_the_run_and_writes_nothing(
    harbour: HarbourCase, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*SMALL, "--scene", str(harbour.path), "--out", str(tmp_path / "out"), "--dry-run"]
    assert detect_scene.main(argv) == 0
    plan = capsys.readouterr().out
    planned = json.loads((whole / "run.json").read_text())["tiles"]["planned"]
    assert f"tiles                {planned} of 224 px" in plan
    for said in ("uint16", "EPSG:32632", "ship", "10"):
        assert said in plan
    assert not (tmp_path / "out").exists()


def test_the_second_look_says_what_it_did(harbour: HarbourCase, tmp_path: Path) -> None:
    """Boxes of both looks carry their stage and the entropy of their crop; the record counts crops and pixels."""
    flags = ("--tiling.global_factor", "2", "--refine.selector", "ours", "--refine.budget", "0.5")
    argv = ["--executor", "local", *flags, "--scene", str(harbour.path), "--out", str(tmp_path)]
    assert detect_scene.main(argv) == 0
    found = rows(tmp_path / "harbour")
    again = found[found.stage != "global"]
    assert len(again) > 0
    assert set(found.stage) <= {"global", "crop", "fused"}
    assert again.entropy.between(0, 1).all()
    assert found[found.stage == "global"].entropy.isna().all()
    record = json.loads((tmp_path / "harbour" / "run.json").read_text())
    assert record["second_look"]["crops"] >= 1
    tile_mpx = (601 / 2) ** 2 / 1e6
    assert tile_mpx < record["network_mpx"] <= 1.51 * tile_mpx


def test_attention_is_exported_as_a_heat_map_in_its_place(harbour: HarbourCase, whole: Path, tmp_path: Path) -> None:
    """Ships draw attention as few other places do, where they lie on the map; the detections are the same."""
    argv = [*SMALL, "--export.attention", "true", "--scene", str(harbour.path), "--out", str(tmp_path)]
    assert detect_scene.main(argv) == 0
    assert (tmp_path / "harbour" / "detections.geojson").exists()
    ships = geopandas.read_parquet(tmp_path / "harbour" / "detections.parquet")
    pd.testing.assert_frame_equal(rows(tmp_path / "harbour")[PLACE], rows(whole)[PLACE])
    with rasterio.open(tmp_path / "harbour" / "attention.tif") as file:
        assert file.crs == ships.crs
        heat = file.read(1)
        assert np.isfinite(heat).all()
        at_ships = [value[0] for value in file.sample([(p.x, p.y) for p in ships.geometry.centroid])]
    assert np.median(at_ships) > np.quantile(heat, 0.8)


def test_notebook_returns_what_the_job_writes(harbour: HarbourCase, whole: Path) -> None:
    from pipeline.config import RunConfig, TilingConfig

    config = RunConfig(tiling=TilingConfig(tile_px=224, halo_px=48))
    frame = detect_frame(str(harbour.path), load("builtin:ships-s2", "cpu", "float32", 1), config)
    written = geopandas.read_parquet(whole / "detections.parquet")
    assert frame.crs == written.crs
    assert list(frame.detection_id) == list(written.detection_id)
    assert frame.geometry.geom_equals(written.geometry).all()


def test_console_command() -> None:
    """``pip install`` gives ``kestrel``, and ``kestrel detect`` is the same job."""
    command = Path(sys.executable).with_name("kestrel")
    done = subprocess.run([command, "detect", "--help"], capture_output=True, text=True, check=True)
    assert "--scene" in done.stdout
    assert "kestrel detect" in done.stdout
    unknown = subprocess.run([command, "detekt"], capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "did you mean detect?" in unknown.stderr


def test_what_ray_uploads_stays_small(tmp_path: Path) -> None:
    """``ray job submit --working-dir .`` takes this folder with Ray's own packaging; environments, results, caches
    and the history must not travel: under 30 MB."""
    from ray._private.runtime_env.packaging import create_package

    package = tmp_path / "package.zip"
    create_package(str(ROOT), package, include_gitignore=True)
    assert package.stat().st_size < 30e6
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(package)], capture_output=True, text=True, check=True
    ).stdout
    assert "jobs/detect_scene.py" in names
    assert ".venv" not in names
    assert ".git/" not in names
