"""An S3 server behind the fault proxy: what its tests read, publish and count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from pipeline.config import DetectorConfig, OutputConfig, RasterConfig, RunConfig, TilingConfig
from pipeline.pixels.decoding import decode_window
from pipeline.raster.overview import measure_stretch, read_thumbnail
from pipeline.raster.reader import SceneReader
from pipeline.retrying import Patience
from pipeline.storage.folders import publish_folder, staging_folder
from pipeline.types import Scene, Window
from tests.support.patience import QUICK
from tests.support.reading import native
from tests.support.servers import BUCKET, s3_client

SIDE = 9000
"""With tiles of 128 pixels the index of such a file is larger than what opening reads: it comes piece by piece."""
WINDOW = Window(x=3000, y=3000, width=900, height=400)
PLAIN = RasterConfig(stretch="none")
OPENING = 32_768
"""Bytes that opening reads."""


def block(scene: Scene, window: Window = WINDOW, patience: Patience = QUICK) -> NDArray[np.uint8]:
    """(H, W, 3) pixels of a window, from files opened for it."""
    with SceneReader(scene, native(scene), measure_stretch(scene, PLAIN), PLAIN, patience) as reader:
        return reader.read(window)[0]


def thumbnail(scene: Scene, patience: Patience = QUICK) -> NDArray[np.uint8]:
    """The scene in at most 500 pixels a side."""
    return read_thumbnail(scene, measure_stretch(scene, PLAIN), PLAIN, 500, patience)[0]


def signed(address: str, key: str) -> str:
    """An https address as people pass it on: the credential is in its query."""
    url: str = s3_client(address).generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
    return url


def needed_ranges(path: Path, scene: Scene, window: Window) -> list[tuple[int, int]]:
    """(first, past the last) byte of every run of neighbouring file blocks under ``window``, from the file's index.

    A COG keeps the length of each block in the 4 bytes before and after it; a run goes over those.
    """
    area = decode_window(scene, window)
    found = []
    with rasterio.open(path) as file:
        for row in range(area.y // scene.block_height, -(-area.y1 // scene.block_height)):
            for column in range(area.x // scene.block_width, -(-area.x1 // scene.block_width)):
                offset, size = (
                    int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1))
                    for what in ("OFFSET", "SIZE")
                )
                found.append((offset, offset + size))
    runs: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if runs and start - runs[-1][1] <= 8:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def publish(out: str, files: dict[str, bytes]) -> str:
    """Publish files as the result ``scene`` in ``out``; returns its address."""
    with staging_folder(out, "scene") as staged:
        for name, content in files.items():
            (staged / name).write_bytes(content)
        return publish_folder(staged, out, "scene", patience=QUICK)


def kept(server: str, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket, past the proxy."""
    client = s3_client(server)
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}


def run_config(scene: str, out: object, block_mpx: float = 0.2) -> RunConfig:
    """A run on the small harbour in a few blocks."""
    return RunConfig(
        scene=(scene,), out=str(out), tiling=TilingConfig(tile_px=224, halo_px=48, block_mpx=block_mpx),
        detector=DetectorConfig(batch=2), output=OutputConfig(preview_px=0),
    )  # fmt: skip
