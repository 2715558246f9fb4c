"""What people's files say wrongly of their pixels, from the command line to the record of the run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.enums import ColorInterp, Resampling

from jobs import detect_scene
from pipeline.config import RunConfig, TilingConfig
from pipeline.detectors.weights import load
from pipeline.errors import OutsideArea
from pipeline.notebook import detect_frame
from tests.support.scenes import NORTH_UP, UTM, picture, write_geotiff

LOCAL = ("--executor", "local", "--output.preview_px", "0", "--tiling.gsd", "native")


def detect(scene: Path, out: Path, *more: str) -> dict[str, Any]:
    """What run.json says of a scene that was published."""
    assert detect_scene.main(["--scene", str(scene), "--out", str(out), *LOCAL, *more]) == 0
    content: dict[str, Any] = json.loads((out / scene.stem / "run.json").read_text())
    return content


def test_fill_that_nobody_declared_is_named_and_the_proposed_flag_mends_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = picture(120, 120, dtype="float32")
    pixels[:, :6] = -9999
    scene = write_geotiff(tmp_path / "fill.tif", pixels)
    record = detect(scene, tmp_path / "out")
    assert "add --raster.nodata -9999" in record["warnings"][0]
    assert "warning: fill: 5 % of bands 1, 2 and 3 is exactly -9999" in capfd.readouterr().err
    mended = detect(scene, tmp_path / "out2", "--raster.nodata", "-9999")
    assert mended["warnings"] == []
    assert min(mended["stretch"]["low"]) > -1


def test_infrared_that_is_flagged_as_alpha_is_doubted_and_the_proposed_flag_mends_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rgb = picture(120, 120)
    infrared = np.clip(picture(120, 120, 1, seed=9).astype(int) - 60, 0, 255).astype(np.uint8)
    scene = write_geotiff(tmp_path / "rgbn.tif", np.dstack([rgb, infrared]), alpha=True)
    record = detect(scene, tmp_path / "out")
    assert "--raster.mask none" in record["warnings"][0]
    assert "warning: rgbn: band 4 is flagged as alpha and looks like an image" in capfd.readouterr().err
    mended = detect(scene, tmp_path / "out2", "--raster.mask", "none")
    assert mended["warnings"] == []
    assert mended["scene"]["has_mask"] is False
    assert mended["run_id"] != record["run_id"]


def test_an_alpha_band_of_zeros_is_loudly_nothing_and_is_looked_at_without_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = np.dstack([picture(120, 120), np.zeros((120, 120), np.uint8)])
    scene = write_geotiff(tmp_path / "clear.tif", pixels, alpha=True)
    record = detect(scene, tmp_path / "out")
    assert "NOTHING WAS LOOKED AT: skipped 1 without a valid pixel" in capfd.readouterr().err
    assert "--raster.mask none" in record["warnings"][0]
    detect(scene, tmp_path / "out")
    assert "it came with 1 warnings" in capfd.readouterr().err
    assert detect(scene, tmp_path / "out2", "--raster.mask", "none")["tiles"]["done"] == 1


def test_declared_colours_are_in_the_record_and_in_the_dry_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "bgrn.tif"
    with rasterio.open(
        scene, "w", driver="GTiff", width=120, height=120, count=4, dtype="uint8", crs=UTM, transform=NORTH_UP,
        photometric="MINISBLACK",
    ) as file:  # fmt: skip
        file.write(picture(120, 120, 4).transpose(2, 0, 1))
        file.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined)
    record = detect(scene, tmp_path / "out")
    assert record["scene"]["bands"] == [3, 2, 1]
    assert "which the file declares red, green and blue" in record["warnings"][0]
    capfd.readouterr()
    detect(scene, tmp_path / "out", "--dry-run")
    assert "uint8, bands 3, 2, 1 of 4" in capfd.readouterr().out


def test_a_palette_is_no_grey_scene(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scene = tmp_path / "cover.tif"
    with rasterio.open(
        scene, "w", driver="GTiff", width=120, height=120, count=1, dtype="uint8", crs=UTM, transform=NORTH_UP,
        photometric="PALETTE",
    ) as file:  # fmt: skip
        file.write(picture(120, 120, 1)[..., 0] // 64, 1)
        file.write_colormap(1, {n: (60 * n, 200 - 60 * n, 90, 255) for n in range(4)})
    record = detect(scene, tmp_path / "out")
    assert "a palette" in record["warnings"][0]
    capfd.readouterr()
    detect(scene, tmp_path / "out", "--dry-run")
    said = capfd.readouterr().out
    assert "a palette" in said
    assert "grey scene" not in said


def test_half_a_scene_that_came_after_its_overviews_is_looked_at(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene, half = tmp_path / "mosaic.tif", picture(96, 2160).transpose(2, 0, 1)
    with rasterio.open(
        scene, "w", driver="GTiff", width=4320, height=96, count=3, dtype="uint8", crs=UTM, transform=NORTH_UP,
        nodata=0, tiled=True, blockxsize=128, blockysize=128,
    ) as file:  # fmt: skip
        file.write(half, window=((0, 96), (0, 2160)))
    with rasterio.open(scene, "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    skipped = detect(scene, tmp_path / "early")
    assert skipped["tiles"]["skipped_empty"] > 0
    assert f"(skipped {skipped['tiles']['skipped_empty']} without a valid pixel)" in capfd.readouterr().err
    with rasterio.open(scene, "r+") as file:
        file.write(half, window=((0, 96), (2160, 4320)))
    record = detect(scene, tmp_path / "late")
    assert record["tiles"]["skipped_empty"] == 0
    assert "gdaladdo -clean" in record["warnings"][0]


@pytest.mark.parametrize("before", ["black", "other"])
def test_an_eight_bit_scene_of_other_pixels_than_its_overviews_is_told_of_and_shown_as_it_is(
    before: str, tmp_path: Path
) -> None:
    """No tile is skipped and no stretch taken: the preview alone would show the old pixels."""
    scene, pixels = tmp_path / "again.tif", picture(600, 800) // 2 + 100
    with rasterio.open(
        scene, "w", driver="GTiff", width=800, height=600, count=3, dtype="uint8", crs=UTM, transform=NORTH_UP,
        tiled=True, blockxsize=128, blockysize=128,
    ) as file:  # fmt: skip
        file.write(np.zeros((3, 600, 800), np.uint8) if before == "black" else pixels.transpose(2, 0, 1) // 3)
    with rasterio.open(scene, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    with rasterio.open(scene, "r+") as file:
        file.write(pixels.transpose(2, 0, 1))
    record = detect(scene, tmp_path / "out", "--output.preview_px", "200", "--detector.score_threshold", "1")
    assert ["gdaladdo -clean" in one for one in record["warnings"]] == [True]
    shown = np.asarray(Image.open(tmp_path / "out" / "again" / "preview.png").convert("RGB"))
    assert 29_000 < (shown.min(axis=2) > 90).sum() < 34_000, "200 x 150 of them are of the new pixels"
    assert record["tiles"]["skipped_empty"] == 0


def area_without_crs(path: Path, polygon: shapely.Polygon) -> Path:
    wkb = np.array([shapely.to_wkb(polygon)], object)
    with pytest.warns(UserWarning, match="crs"):
        pyogrio.raw.write(path, wkb, [], [], driver="ESRI Shapefile", geometry_type="Polygon")
    return path


def test_a_notebook_is_warned_of_what_a_run_warns_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the scene, the area of interest and the environment, from the line that asked; each once."""
    pixels = picture(120, 120, dtype="float32")
    pixels[:, :6] = -9999
    scene = write_geotiff(tmp_path / "fill.tif", pixels)
    area = area_without_crs(tmp_path / "area.shp", shapely.box(500_000, 4_999_000, 501_000, 5_000_000))
    config = RunConfig(aoi=str(area), tiling=TilingConfig(gsd="native"))
    monkeypatch.setenv("GTIFF_FORCE_RGBA", "YES")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        detect_frame(str(scene), load("builtin:ships-s2", "cpu", "float32", 1), config)
    assert {one.filename for one in told} == {__file__}
    sentences = [str(one.message) for one in told]
    assert len(sentences) == len(set(sentences)) == 3
    for part in ("GTIFF_FORCE_RGBA in the environment is ignored", "names no CRS", "add --raster.nodata -9999"):
        assert any(part in one and not one.startswith("warning") for one in sentences), part


def test_a_notebook_is_warned_where_nothing_comes_back(tmp_path: Path) -> None:
    """What was said before a scene proves to be outside of the area is a hint at the reason."""
    scene = write_geotiff(tmp_path / "a.tif", picture(120, 120))
    area = area_without_crs(tmp_path / "area.shp", shapely.box(0, 0, 1, 1))
    with pytest.warns(UserWarning, match="names no CRS"), pytest.raises(OutsideArea):
        detect_frame(str(scene), load("builtin:ships-s2", "cpu", "float32", 1), RunConfig(aoi=str(area)))


def test_the_dry_run_says_how_the_area_was_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scene = write_geotiff(tmp_path / "a.tif", picture(120, 120))
    area = area_without_crs(tmp_path / "area.shp", shapely.box(500_000, 4_999_000, 501_000, 5_000_000))
    detect(scene, tmp_path / "out", "--aoi", str(area))
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "names no CRS" in line]
    assert detect_scene.main(["--scene", str(scene), "--out", str(tmp_path / "o"), *LOCAL, "--aoi", str(area),
                              "--dry-run"]) == 0  # fmt: skip
    assert said in capfd.readouterr().out.splitlines()
