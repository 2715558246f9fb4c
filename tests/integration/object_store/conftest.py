"""An S3 server and the fault proxy before it, each a process of its own, and what lies on the server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
from numpy.typing import NDArray

from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.harbours import HarbourCase, small_harbour
from tests.support.object_store import SIDE
from tests.support.proxy_faults import Faults
from tests.support.scenes import write_geotiff
from tests.support.servers import BUCKET, fill_bucket, s3_client, s3_process


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COG and a plain tiled file of tiles of one value each: all index; and the same two of noise: all pixels."""
    folder = tmp_path_factory.mktemp("scenes")
    values = np.random.default_rng(0).integers(1, 256, (SIDE // 128 + 1,) * 2, dtype=np.uint8)
    pixels: NDArray[np.uint8] = np.kron(values, np.ones((128, 128), np.uint8))[:SIDE, :SIDE, None]
    tiled = write_geotiff(folder / "tiled.tif", pixels, block_px=128, overviews=(2, 4, 8, 16, 32))
    rasterio.shutil.copy(tiled, folder / "cog.tif", driver="COG", blocksize=128, compress="deflate")
    noise = np.random.default_rng(1).integers(0, 65_536, (1000, 1200, 3), dtype=np.uint16)
    plain = write_geotiff(folder / "noise.tif", noise, block_px=128)
    rasterio.shutil.copy(plain, folder / "noise_cog.tif", driver="COG", blocksize=128, compress="deflate")
    (folder / "text.tif").write_text("no raster")
    return folder


@pytest.fixture(scope="session")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    """A small scene with its truth."""
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.fixture(scope="session")
def server(folder: Path, harbour: HarbourCase) -> Iterator[str]:
    """The address of a real S3 server (moto's) that holds them all."""
    pytest.importorskip("moto.server", reason="moto is not installed: no S3 server here")
    pytest.importorskip("s3fs", reason="s3fs is not installed: no client for S3 here")
    with s3_process() as address:
        fill_bucket(address, folder)
        s3_client(address).upload_file(str(harbour.path), BUCKET, "harbour.tif")
        yield address


@pytest.fixture(scope="session")
def process(server: str) -> Iterator[FaultProxy]:
    """The proxy before it."""
    with fault_proxy(server) as proxy:
        yield proxy


@pytest.fixture
def proxy(process: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    """The way to the store, without faults, named by the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": process.url, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    process.faults = Faults()
    process.forget_traffic()
    return process


@pytest.fixture
def bucket(server: str) -> str:
    """An empty bucket."""
    name = f"results-{uuid.uuid4().hex[:8]}"
    fill_bucket(server, name=name)
    return name
