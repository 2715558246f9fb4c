"""SR-TOD from a training to a map: fit, export, detect with the difference map as selector and as export."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from jobs import detect_scene, train_detector
from pipeline.annotations.annotations import Annotations
from pipeline.config import ExportConfig, RunConfig, TilingConfig
from pipeline.detectors import load_detector
from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_fcos.folder import save_network as save_fcos
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.engine.block import read_block
from pipeline.pixels.shrinking import shrunk
from pipeline.planning.plan import plan_scene, screen
from pipeline.raster.heat_map import heat
from pipeline.second_look.look import NO_DIFFERENCE
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import save_scene
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.harbours import HarbourCase, small_harbour
from tests.support.oriented import CARD, small_network
from tests.support.prepared import scene_with

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])
TILING = TilingConfig(gsd="native", tile_px=224, halo_px=48, global_factor=2.0, block_mpx=0.1)
LOOK = (
    "--tiling.gsd", "native", "--tiling.tile_px", "224", "--tiling.halo_px", "48", "--tiling.global_factor", "2",
    "--tiling.block_mpx", "0.1", "--refine.selector", "difference", "--export.difference", "true",
)  # fmt: skip


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ``export`` wrote of a run that ``fit`` began from a network that reconstructs."""
    root = tmp_path_factory.mktemp("training")
    save_network(root / "init", small_network(reconstruction="learnable"))
    start_folder(root / "prep", Prepared(classes=("ship",)))
    truth = Annotations(SHIPS, np.zeros(3, np.int64), np.zeros(3, np.bool_))
    save_scene(root / "prep" / "a.npz", replace(scene_with(SHIPS), name="a", truth=truth))
    shared = ["--out", str(root / "run"), "--tiles", "1", "--sizes", "64", "--threads", "1", "--steps", "2"]
    fit = ["fit", "--scenes", str(root / "prep"), "--init", str(root / "init"), *shared]
    assert train_detector.main(fit) == 0
    export = ["export", "--run", str(root / "run"), "--out", str(root / "weights"), "--score-threshold", "0.01"]
    assert train_detector.main(export) == 0
    return root / "weights"


def detect(harbour: HarbourCase, out: Path, *more: str) -> Path:
    assert detect_scene.main([*LOOK, "--scene", str(harbour.path), "--out", str(out), *more]) == 0
    return out / "harbour"


@pytest.fixture(scope="module")
def found(harbour: HarbourCase, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process publishes."""
    out = tmp_path_factory.mktemp("local")
    return detect(harbour, out, "--executor", "local", "--weights", str(weights))


def test_the_exported_map_is_what_the_detector_answered_for_every_tile(
    harbour: HarbourCase, weights: Path, found: Path
) -> None:
    """Tile by tile through the detector itself; where tiles overlap the larger value stands."""
    detector = load_detector(weights, threads=1)
    config = RunConfig(scene=(str(harbour.path),), tiling=TILING, export=ExportConfig(difference=True))
    plan, order = screen(plan_scene(str(harbour.path), config, detector.card, None), config, detector.card)
    expected = np.full((45, 45), np.nan, np.float32)
    for block in plan.blocks:
        pixels = read_block(order, block)
        for tile in block.tiles:
            chip = shrunk(pixels.as_chip(tile.window), order.global_factor)
            (look,) = detector.detect([chip], score_threshold=0.5)
            assert look.difference is not None
            values, column, row = heat(tile.window, look.difference)
            part = expected[row : row + values.shape[0], column : column + values.shape[1]]
            part[:] = np.fmax(part, values)
    with rasterio.open(found / "difference.tif") as file, rasterio.open(harbour.path) as scene:
        np.testing.assert_allclose(file.read(1), expected, rtol=1e-4)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.crs == scene.crs
        np.testing.assert_allclose(file.bounds, scene.bounds, atol=1e-6)
        assert "reconstruction" in file.descriptions[0]
    assert 0 < np.nanmin(expected) < np.nanmax(expected) < 1


def test_the_second_look_goes_by_it_and_the_result_names_its_files(found: Path) -> None:
    record = json.loads((found / "run.json").read_text())
    assert record["second_look"]["crops"] > 0
    assert not [note for note in record["warnings"] if "difference" in note]
    assert NO_DIFFERENCE not in json.dumps(record)
    manifest = json.loads((found / "manifest.json").read_text())
    assert "difference.tif" in json.dumps(manifest)
    assert not (found / "attention.tif").exists()


def test_the_same_run_again_is_nothing_to_do_and_parts_with_more_maps_serve(
    harbour: HarbourCase, weights: Path, found: Path, tmp_path: Path
) -> None:
    """Parts with both maps serve a run that asks for one of them; ``--from merge`` would fail without parts."""
    out = Path(shutil.copytree(found, tmp_path / "harbour")).parent
    alone = ("--executor", "local", "--weights", str(weights))
    before = (out / "harbour" / "manifest.json").stat().st_mtime_ns
    folder = detect(harbour, out, *alone)
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    detect(harbour, out, *alone, "--export.attention", "true", "--clean", "true")
    assert (folder / "attention.tif").exists()
    detect(harbour, out, *alone, "--from", "merge", "--merge.iou_threshold", "0.35")
    assert not (folder / "attention.tif").exists()
    assert (folder / "difference.tif").read_bytes() == (found / "difference.tif").read_bytes()


def test_an_oriented_fcos_has_no_attention_and_goes_by_its_difference_map(harbour: HarbourCase, tmp_path: Path) -> None:
    save_fcos(tmp_path / "weights", small_fcos(replace(SMALL_FCOS, reconstruction="learnable")))
    write_card(tmp_path / "weights", replace(CARD, sha256=weights_sha256(tmp_path / "weights"), score_threshold=0.1))
    folder = detect(harbour, tmp_path, "--executor", "local", "--weights", str(tmp_path / "weights"))
    record = json.loads((folder / "run.json").read_text())
    assert record["second_look"]["crops"] > 0
    assert NO_DIFFERENCE not in json.dumps(record)
    with rasterio.open(folder / "difference.tif") as file:
        values = file.read(1)
    assert np.isfinite(values).all()
    assert np.ptp(values) > 0


@pytest.mark.ray
def test_a_cluster_writes_the_same_bytes(
    harbour: HarbourCase, weights: Path, ray_cluster: None, tmp_path: Path
) -> None:
    alone = detect(harbour, tmp_path / "one", "--executor", "local", "--weights", str(weights))
    patient = ("--cluster.workers", "2", "--cluster.start_s", "240")
    many = detect(harbour, tmp_path / "many", *patient, "--weights", str(weights))
    for name in ("difference.tif", "detections.parquet", "detections.geojson", "failures.parquet"):
        assert (many / name).read_bytes() == (alone / name).read_bytes(), name


def test_a_detector_that_cannot_draw_says_so_and_its_map_is_empty(
    harbour: HarbourCase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded detector: crops by density, a difference.tif of nodata, and both are in the record."""
    folder = detect(harbour, tmp_path, "--executor", "local")
    record = (folder / "run.json").read_text()
    assert NO_DIFFERENCE in record
    assert "this detector gives no difference map: difference.tif is empty" in record
    with rasterio.open(folder / "difference.tif") as file:
        assert np.isnan(file.read(1)).all()
    assert NO_DIFFERENCE in capsys.readouterr().err
