"""Every digest and every byte that one small run leaves behind; where each is worked out may change, the values not."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import rasterio

from pipeline.config import MergeConfig, OutputConfig, RunConfig, TilingConfig
from pipeline.engine.local import LocalExecutor
from pipeline.planning.plan import plan_scene, screen
from pipeline.raster.overview import read_thumbnail
from pipeline.runs.context import SILENT
from pipeline.runs.identity import (
    FINGERPRINT_PX,
    config_hash,
    fingerprint,
    model_version,
    request_sha256,
    scene_version,
)
from pipeline.runs.run import detect
from pipeline.synth.oracle import Jitter, OracleDetector
from pipeline.types import ModelCard, Window

SIDE_PX = 400
FILES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")

CARD = ModelCard(
    name="pinned", classes=("ship", "buoy"), gsd_m=None, bands=("red", "green", "blue"), input_px=96,
    sha256="0123456789abcdef" * 4, oriented=True, score_threshold=0.4, longest_object_m=400.0, licence="CC0-1.0",
)  # fmt: skip


def write_pinned_scene(path: Path) -> None:
    """16 bits, three bands, UTM, a corner of nodata; uncompressed and of a fixed time: so its version is fixed."""
    row, column = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    pixels = np.stack([1 + (column * 7 + row * 13 + band * 101) % 3000 for band in range(3)]).astype(np.uint16)
    pixels[:, :120, :90] = 0
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE_PX, height=SIDE_PX, count=3, dtype="uint16", nodata=0,
        crs="EPSG:32632", transform=rasterio.Affine(10.0, 0.0, 400_000.0, 0.0, -10.0, 5_000_000.0), tiled=True,
        blockxsize=64, blockysize=64,
    ) as file:  # fmt: skip
        file.write(pixels)
        file.update_tags(TIFFTAG_DATETIME="2026:05:04 10:11:12")
    os.utime(path, ns=(1_700_000_000_000_000_000,) * 2)


def pinned_oracle() -> OracleDetector:
    """Thirty-six objects on a grid, of both classes and any angle."""
    place = np.arange(36)
    boxes = np.column_stack(
        [35 + 65.0 * (place % 6), 30 + 67.0 * (place // 6), 14 + place % 9, 6 + place % 4, (place * 0.37) % 3.1 - 1.5]
    )
    jitter = Jitter(centre_px=0.4, size=0.04, angle_rad=0.03, score=0.05)
    bounds = Window(x=0, y=0, width=SIDE_PX, height=SIDE_PX)
    return OracleDetector(boxes, place % 2, card=CARD, bounds=bounds, seed=1, jitter=jitter)


def pinned_run(folder: Path) -> dict[str, str | list[str]]:
    """Detect the scene once, with two looks, and say what every digest and file came out as."""
    scene_path = folder / "pinned.tif"
    write_pinned_scene(scene_path)
    config = RunConfig(
        scene=(str(scene_path),), out=str(folder / "out"),
        tiling=TilingConfig(tile_px=192, halo_px=40, global_factor=2.0, block_mpx=0.08),
        merge=MergeConfig(class_groups=(("ship", "buoy"),)), output=OutputConfig(meta=("sensor=MSI",)),
    )  # fmt: skip
    executor = LocalExecutor(pinned_oracle)
    report = detect(config, CARD, executor, SILENT)
    assert report.exit_code == 0, report
    result = folder / "out" / "pinned"
    record = json.loads((result / "run.json").read_text())
    ids = pq.read_table(result / "detections.parquet")["detection_id"].to_pylist()
    return {
        **_digests(config),
        "record: config hash": record["config"]["hash"],
        "record: request": record["request"],
        "record: run_id": record["run_id"],
        "parts": sorted(path.name for path in (result / "_work").iterdir()),
        "detections": f"{len(ids)}, ids {hashlib.sha256(json.dumps(ids).encode()).hexdigest()}",
        **{name: hashlib.sha256((result / name).read_bytes()).hexdigest() for name in FILES},
    }


def _digests(config: RunConfig) -> dict[str, str | list[str]]:
    """The digests as they are worked out, beside where they end up. The addresses of files are in none."""
    plan, order = screen(plan_scene(config.scene[0], config, CARD, None), config, CARD)
    scene = plan.scene
    thumbnail, _ = read_thumbnail(scene, order.stretch, config.raster, FINGERPRINT_PX)
    version = scene_version(scene)
    assert version is not None
    return {
        "config hash": config_hash(config),
        "config hash of the defaults": config_hash(RunConfig()),
        "scene version": version,
        "scene fingerprint": fingerprint(scene, order.stretch, thumbnail),
        "model version": model_version(CARD),
        "request": request_sha256(scene, version, config, CARD, None),
    }
