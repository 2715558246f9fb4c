"""Our files read by other people's software: what they say is the judge, not our own readers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import shapely

from pipeline.outputs.geojson import write_geojson
from pipeline.outputs.geopackage import write_gpkg
from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.outputs.tables import DETECTION_SCHEMA, Table
from pipeline.outputs.wkb import polygon_corners
from pipeline.pictures.colours import class_colour
from tests.support.outputs import CLASSES, UTM_32N, sample, utm_to_lonlat

TEXT_ROWS = 500
"""Detections in the GeoJSON and the GeoPackage; the Parquet holds all, in several row groups."""

PLAIN_COLUMNS = [name for name in DETECTION_SCHEMA.names if name not in ("geometry", "bbox")]


@dataclass(frozen=True, slots=True)
class Files:
    """The three files of one scene, and the table they came from."""

    table: Table
    parquet: Path
    geojson: Path
    gpkg: Path

    def bounds(self) -> list[float]:
        """West, south, east, north in the scene's CRS."""
        corners = polygon_corners(self.table)
        return [*corners.min(axis=(0, 1)), *corners.max(axis=(0, 1))]


@pytest.fixture(scope="module", params=[0, 1, 60_000], ids=["empty", "one", "many"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A scene's files: of no detection, of one, and of enough for several row groups."""
    table, folder = sample(request.param).table(), tmp_path_factory.mktemp("scene")
    made = Files(table, folder / "detections.parquet", folder / "detections.geojson", folder / "detections.gpkg")
    write_geoparquet(table, made.parquet, crs_projjson=UTM_32N.to_json_dict(), metadata={"sensor": "S2"})
    write_geojson(table.slice(0, TEXT_ROWS), made.geojson, utm_to_lonlat)
    write_gpkg(table.slice(0, TEXT_ROWS), made.gpkg, UTM_32N.to_wkt())
    return made


def test_geopandas_reads_all_three_and_they_agree(files: Files) -> None:
    geopandas = pytest.importorskip("geopandas", reason="geopandas is not installed")
    parquet = geopandas.read_parquet(files.parquet)
    gpkg = geopandas.read_file(files.gpkg, engine="pyogrio")
    geojson = geopandas.read_file(files.geojson, engine="pyogrio")
    assert len(parquet) == len(files.table)
    assert len(gpkg) == len(geojson) == min(len(files.table), TEXT_ROWS)
    assert parquet.crs == UTM_32N
    assert gpkg.crs == UTM_32N
    assert geojson.crs.to_epsg() == 4326
    assert [name for name in parquet.columns if name not in ("geometry", "bbox")] == PLAIN_COLUMNS
    assert [name for name in gpkg.columns if name != "geometry"] == PLAIN_COLUMNS
    if len(gpkg):
        assert [name for name in geojson.columns if name != "geometry"] == PLAIN_COLUMNS
        first = parquet.iloc[: len(gpkg)]
        assert shapely.equals_exact(first.geometry.values, gpkg.geometry.values).all()
        assert (first.detection_id.values == geojson.detection_id.values).all()
        back = geojson.to_crs(UTM_32N)
        assert shapely.hausdorff_distance(first.geometry.values, back.geometry.values).max() < 0.002
        assert np.allclose(first.score, gpkg.score, rtol=0, atol=0)


def test_geopandas_filters_by_the_covering(files: Files) -> None:
    geopandas = pytest.importorskip("geopandas", reason="geopandas is not installed")
    window = shapely.box(500_000, 5_000_000, 600_000, 5_200_000)
    everything = geopandas.read_parquet(files.parquet)
    found = geopandas.read_parquet(files.parquet, bbox=window.bounds)
    expected = set(everything[everything.intersects(window)].detection_id)
    assert expected <= set(found.detection_id)
    assert len(found) <= 1.02 * len(expected) + 1, "the covering is only a hair larger than the boxes"


def test_the_geoparquet_validator_finds_it_conformant(files: Files) -> None:
    tool = Path(sys.executable).with_name("geoparquet-validator")
    said = subprocess.run([tool, "check", files.parquet], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    for conformance in ("core", "covering", "distribution"):
        (verdict,) = [line for line in said.stdout.splitlines() if line.strip().startswith(f"=> {conformance}:")]
        assert verdict.endswith(": conformant"), said.stdout
    assert "FAIL" not in said.stdout
    assert not [line for line in said.stdout.splitlines() if line.strip().startswith("warn")], said.stdout


def test_duckdb_reads_the_parquet_and_filters_by_bbox(files: Files) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    with duckdb.connect() as database:
        source = f"read_parquet('{files.parquet}')"
        [(count,)] = database.execute(f"SELECT count(*) FROM {source}").fetchall()
        assert count == len(files.table)
        names = [row[0] for row in database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
        assert names == DETECTION_SCHEMA.names
        inside = "bbox.xmin < 600000 AND bbox.xmax > 500000 AND bbox.ymin < 5200000 AND bbox.ymax > 5000000"
        found = {row[0] for row in database.execute(f"SELECT detection_id FROM {source} WHERE {inside}").fetchall()}
    corners = polygon_corners(files.table)
    low, high = corners.min(axis=1), corners.max(axis=1)
    hit = (low < (600_000, 5_200_000)).all(axis=1) & (high > (500_000, 5_000_000)).all(axis=1)
    assert set(files.table["detection_id"].filter(hit).to_pylist()) <= found
    assert len(found) <= 1.02 * hit.sum() + 1


def test_ogrinfo_agrees_on_count_extent_and_crs(files: Files) -> None:
    if shutil.which("ogrinfo") is None:
        pytest.skip("ogrinfo is not installed (Debian: gdal-bin)")
    command = ["ogrinfo", "-ro", "-so", str(files.gpkg), "detections"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = min(len(files.table), TEXT_ROWS)
    assert f"Feature Count: {rows}" in said
    assert "UTM zone 32N" in said
    if rows:
        (line,) = [line for line in said.splitlines() if line.startswith("Extent:")]
        extent = [
            float(number)
            for number in line[len("Extent: ") :].replace(" - ", ", ").replace("(", "").replace(")", "").split(",")
        ]
        assert extent == pytest.approx(Files(files.table.slice(0, TEXT_ROWS), *[files.gpkg] * 3).bounds(), abs=1e-6)


def test_ogr_finds_rfc_7946_geojson(files: Files) -> None:
    """GDAL's own GeoJSON reader sees every feature, in WGS84; rings turn right by shapely's judgement."""
    if shutil.which("ogrinfo") is None:
        pytest.skip("ogrinfo is not installed (Debian: gdal-bin)")
    command = ["ogrinfo", "-ro", "-so", "-al", str(files.geojson)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = min(len(files.table), TEXT_ROWS)
    assert f"Feature Count: {rows}" in said
    assert "WGS 84" in said
    rings = [f["geometry"]["coordinates"][0] for f in json.loads(files.geojson.read_text())["features"]]
    assert all(shapely.LinearRing(ring).is_ccw for ring in rings)


QGIS = """
import json
try:
    from qgis.core import QgsApplication, QgsMapRendererSequentialJob, QgsMapSettings, QgsRectangle, QgsVectorLayer
except ImportError:
    raise SystemExit(77)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor
app = QgsApplication([], False)
app.initQgis()
layer = QgsVectorLayer(FILE, "detections", "ogr")
message, found = layer.loadDefaultStyle()
centre = next(layer.getFeatures()).geometry().centroid().asPoint()
labels, colours = {}, {}
for scale in (5000, 20000, 40000):
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setBackgroundColor(QColor(255, 255, 255))
    settings.setOutputSize(QSize(800, 600))
    settings.setOutputDpi(96)
    width = scale * 800 * 0.0254 / 96
    settings.setExtent(QgsRectangle(
        centre.x() - width / 2, centre.y() - width * 3 / 8, centre.x() + width / 2, centre.y() + width * 3 / 8))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    results, image = job.takeLabelingResults(), job.renderedImage()
    labels[scale] = [label.labelText for label in results.labelsWithinRect(settings.extent())]
    colours[scale] = sorted({image.pixelColor(x, y).name() for x in range(800) for y in range(600)})
print("SAID", json.dumps({
    "valid": layer.isValid(), "count": layer.featureCount(), "crs": layer.crs().authid(), "style": found,
    "renderer": layer.renderer().type(), "attribute": layer.renderer().classAttribute(),
    "first": layer.getFeature(next(layer.getFeatures()).id())["class_name"], "labels": labels, "colours": colours,
}), flush=True)
del layer
app.exitQgis()
"""


@pytest.mark.parametrize("classes", [(), CLASSES], ids=["by score", "by class"])
def test_qgis_draws_the_geopackage_in_its_style_with_labels_where_they_can_be_read(
    classes: tuple[str, ...], tmp_path: Path
) -> None:
    """Headless QGIS finds the style by the file's name, draws in its colours, and labels at 1 : 25,000 and nearer."""
    write_gpkg(
        sample(50).table(), tmp_path / "detections.gpkg", UTM_32N.to_wkt(), layer="detections_S2A", classes=classes
    )
    program = QGIS.replace("FILE", repr(str(tmp_path / "detections.gpkg")))
    command = [shutil.which("python3", path="/usr/bin") or sys.executable, "-c", program]
    environment = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if run.returncode == 77:
        pytest.skip("QGIS is not installed (Debian: python3-qgis)")
    lines = [line for line in run.stdout.splitlines() if line.startswith("SAID ")]
    assert lines, run.stderr
    said = json.loads(lines[0].removeprefix("SAID "))
    assert (said["valid"], said["count"], said["crs"], said["style"]) == (True, 50, "EPSG:32632", True)
    assert (said["renderer"], said["attribute"]) == (
        ("categorizedSymbol", "class_id") if classes else ("graduatedSymbol", "score")
    )
    for scale, shown in (("5000", True), ("20000", True), ("40000", False)):
        assert bool(said["labels"][scale]) is shown, scale
    assert said["labels"]["5000"][0].startswith(f"{said['first']} 0.")
    if classes:
        red, green, blue = class_colour(classes.index(said["first"]))
        assert f"#{red:02x}{green:02x}{blue:02x}" in said["colours"]["5000"]


def test_a_pixel_scene_opens_everywhere_without_a_crs(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas", reason="geopandas is not installed")
    table = sample(40, georeferenced=False).table()
    write_geoparquet(table, tmp_path / "d.parquet", crs_projjson=None, metadata={})
    write_gpkg(table, tmp_path / "d.gpkg", None)
    parquet = geopandas.read_parquet(tmp_path / "d.parquet")
    assert parquet.crs is None
    assert parquet.length_m.isna().all()
    gpkg = geopandas.read_file(tmp_path / "d.gpkg", engine="pyogrio")
    assert gpkg.crs is None or not gpkg.crs.is_geographic
    assert shapely.equals_exact(parquet.geometry.values, gpkg.geometry.values).all()
