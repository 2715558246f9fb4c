"""Scenes over the network: real HTTP and S3 servers, counted requests and bytes, and what can go wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil

from pipeline.config import RasterConfig
from pipeline.errors import SceneNotFound, SceneUnreadable, StorageError
from pipeline.pixels.decoding import decode_window
from pipeline.raster.gdal import gdal_options, s3_endpoint_options
from pipeline.raster.overview import measure_stretch, read_thumbnail
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.types import Scene, Window
from tests.support.patience import QUICK
from tests.support.reading import native
from tests.support.scenes import picture, write_geotiff
from tests.support.servers import BUCKET, http_server, s3_server

CONFIG = RasterConfig()


HEIGHT, WIDTH = 1200, 1500
NOISE = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
"""Noise does not compress: bytes sent are bytes of pixels."""
HEADER_BYTES = 64_000
"""More than the headers of the test files, less than any block."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COG, its plain and strip twins, and files with something wrong."""
    folder = tmp_path_factory.mktemp("served")
    tiled = write_geotiff(folder / "tiled.tif", NOISE, block_px=128)
    write_geotiff(folder / "strips.tif", NOISE, block_px=8, tiled=False)
    rasterio.shutil.copy(tiled, folder / "cog.tif", driver="COG", blocksize=128, compress="deflate")
    (folder / "text.tif").write_text("no raster")
    (folder / "truncated.tif").write_bytes((folder / "cog.tif").read_bytes()[: HEADER_BYTES * 3])
    return folder


def block(scene: Scene, window: Window, config: RasterConfig) -> np.ndarray:
    with SceneReader(scene, native(scene), measure_stretch(scene, config), config, QUICK) as reader:
        return reader.read(window)[0]


UNSTRETCHED = RasterConfig(stretch="none")
BLOCKS = [Window(x=256, y=256, width=512, height=384), Window(x=768, y=256, width=512, height=384)]
BANDS = [Window(x=0, y=256, width=WIDTH, height=200), Window(x=0, y=456, width=WIDTH, height=200)]
"""What the planner makes of strips: windows as wide as the file."""


@pytest.mark.parametrize("name", ["cog.tif", "tiled.tif", "strips.tif"])
def test_only_the_header_and_the_needed_blocks_cross_the_network(name: str, folder: Path) -> None:
    """Opening costs a few small requests; a block costs its compressed bytes, no pixel of the rest of the scene."""
    with http_server(folder) as server:
        scene = open_scene(f"{server.url}/{name}", UNSTRETCHED, QUICK)
        assert len(server.requests) <= 4
        assert server.bytes_sent <= HEADER_BYTES
        server.clear()
        blocks = BLOCKS if scene.tiled else BANDS
        for window in blocks:
            got = block(scene, window, UNSTRETCHED)
            assert (got == np.minimum(NOISE[window.y : window.y1, window.x : window.x1], 255)).all()
        decoded = sum(decode_window(scene, window).pixels for window in blocks) * 6
        assert server.bytes_sent <= 1.05 * decoded + HEADER_BYTES
        opening, rows = 4, 3  # two HEADs, the header, and the index where it lies at the end; then a row of blocks each
        assert len(server.requests) <= (opening + rows) * len(blocks)


def test_stretch_and_thumbnail_use_the_overviews(folder: Path) -> None:
    """A remote COG of 10 MB shows itself for a fraction of its bytes."""
    with http_server(folder) as server:
        scene = open_scene(f"{server.url}/cog.tif", CONFIG, QUICK)
        assert scene.overviews
        server.clear()
        thumbnail, _ = read_thumbnail(scene, measure_stretch(scene, UNSTRETCHED), CONFIG, 200, QUICK)
        assert thumbnail.shape == (160, 200, 3)
        assert server.bytes_sent < 0.15 * (folder / "cog.tif").stat().st_size


def test_a_server_that_ignores_ranges_is_named(folder: Path) -> None:
    with http_server(folder, ranges=False) as server, pytest.raises(SceneUnreadable, match="no HTTP range requests"):
        open_scene(f"{server.url}/cog.tif", CONFIG, QUICK)


def test_missing_refused_and_damaged_files_are_told_apart(folder: Path) -> None:
    with http_server(folder, statuses={"/private.tif": 403, "/gone.tif": 410}) as server:
        for name, error, words in (
            ("none.tif", SceneNotFound, "HTTP 404"),
            ("gone.tif", SceneNotFound, "HTTP 410"),
            ("private.tif", SceneUnreadable, "HTTP 403"),
            ("text.tif", SceneUnreadable, "no raster of an allowed format"),
        ):
            with pytest.raises(error, match=words) as caught:
                open_scene(f"{server.url}/{name}?signature=secret", CONFIG, QUICK)
            assert "secret" not in str(caught.value)


def test_what_may_heal_is_a_storage_error(folder: Path) -> None:
    """A server that fails or is gone may come back: the run may try again, unlike with a damaged file."""
    with http_server(folder, statuses={"/busy.tif": 501}) as server, pytest.raises(StorageError, match="HTTP 501"):
        open_scene(f"{server.url}/busy.tif", CONFIG, QUICK)
    with pytest.raises(StorageError, match="does not answer"):
        open_scene(f"{server.url}/never_seen.tif", CONFIG, QUICK)


def test_blocks_missing_behind_a_good_header(folder: Path) -> None:
    """A truncated remote COG opens; its blocks do not, and the error names the place."""
    with http_server(folder) as server:
        scene = open_scene(f"{server.url}/truncated.tif", UNSTRETCHED, QUICK)
        with pytest.raises(StorageError, match=r"columns 0 to 1500, rows 0 to \d+"):
            block(scene, native(scene).window, UNSTRETCHED)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """A real S3 server that holds the files."""
    with s3_server(folder) as address:
        yield address


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment says where the server is, as in production."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    return server


def test_scenes_in_a_bucket(store: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pixels as the local file, with the endpoint in either of its two customary variables."""
    scene = open_scene(f"s3://{BUCKET}/cog.tif", UNSTRETCHED, QUICK)
    assert scene.scene_id == "cog"
    local = open_scene(str(folder / "cog.tif"), UNSTRETCHED, QUICK)
    assert (block(scene, BLOCKS[0], UNSTRETCHED) == block(local, BLOCKS[0], UNSTRETCHED)).all()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_S3_ENDPOINT", store.removeprefix("http://"))
    monkeypatch.setenv("AWS_HTTPS", "NO")
    assert open_scene(f"s3://{BUCKET}/tiled.tif", UNSTRETCHED, QUICK).width == WIDTH


@pytest.mark.usefixtures("store")
def test_what_is_wrong_in_a_bucket() -> None:
    with pytest.raises(SceneNotFound, match="no such object or bucket"):
        open_scene(f"s3://{BUCKET}/none.tif", CONFIG, QUICK)
    with pytest.raises(SceneNotFound, match="no such object or bucket"):
        open_scene("s3://nobody/none.tif", CONFIG, QUICK)
    with pytest.raises(SceneUnreadable, match="no raster of an allowed format"):
        open_scene(f"s3://{BUCKET}/text.tif", CONFIG, QUICK)


@pytest.mark.usefixtures("store")
def test_a_store_that_is_gone_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="does not answer as it should"):
        open_scene(f"s3://{BUCKET}/unseen.tif", CONFIG, QUICK)


def test_endpoints_become_gdal_options() -> None:
    """One address, as other tools take it, is split into GDAL's host and TLS switch."""
    assert s3_endpoint_options(None) == {}
    plain = s3_endpoint_options("http://localhost:9000/")
    assert (plain["AWS_S3_ENDPOINT"], plain["AWS_HTTPS"], plain["AWS_VIRTUAL_HOSTING"]) == (
        "localhost:9000",
        "NO",
        "FALSE",
    )
    assert s3_endpoint_options("https://store.example")["AWS_HTTPS"] == "YES"
    assert "AWS_S3_ENDPOINT" not in s3_endpoint_options("store.example:443")


def test_no_option_of_ours_holds_a_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    assert "very secret" not in str(gdal_options(CONFIG, remote=True))


def test_several_remote_files_are_one_scene(tmp_path: Path) -> None:
    full = picture(130, 140, 3)
    for band in range(3):
        write_geotiff(tmp_path / f"b{band}.tif", full[..., band : band + 1])
    with http_server(tmp_path) as server:
        scene = open_scene(",".join(f"{server.url}/b{band}.tif" for band in range(3)), CONFIG, QUICK)
        assert (block(scene, native(scene).window, CONFIG) == full).all()
