"""Scenes from and results to an S3 server, through a proxy that fails on purpose: nothing lost, no more read.

The server and the proxy are processes of their own. GDAL's own retries are switched off where ours are to be seen.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from pipeline.config import DetectorConfig, OutputConfig, RasterConfig, RunConfig, TilingConfig, WorkConfig
from pipeline.detectors.weights import load, model_card
from pipeline.engine.local import LocalExecutor
from pipeline.errors import ConfigError, SceneNotFound, SceneUnreadable, StorageError
from pipeline.pixels.decoding import decode_window
from pipeline.pixels.resampling import source_window
from pipeline.planning.plan import plan_scene, screen
from pipeline.raster.gdal import remote_options
from pipeline.raster.overview import measure_stretch, read_thumbnail
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.reporting.journal import Journal
from pipeline.retrying import PATIENCE, Patience
from pipeline.runs.context import SILENT
from pipeline.runs.report import RunReport
from pipeline.runs.run import detect
from pipeline.storage.fetching import exists, read_text
from pipeline.storage.folders import MANIFEST, check_writable, publish_folder, staging_folder
from pipeline.types import Scene, Window
from tests.support.fault_proxy import Fault, FaultProxy, Faults, fault_proxy
from tests.support.harbours import HarbourCase, small_harbour
from tests.support.reading import native
from tests.support.scenes import write_geotiff
from tests.support.servers import BUCKET, fill_bucket, s3_client, s3_process

SIDE = 9000
"""With tiles of 128 pixels the index of such a file is larger than what opening reads: it comes piece by piece."""
WINDOW = Window(x=3000, y=3000, width=900, height=400)
NOISE_WINDOW = Window(x=300, y=300, width=600, height=400)
PLAIN = RasterConfig(stretch="none")
OPENING = 32_768
"""Bytes that opening reads."""
GDAL_PAGE = 16_384
"""Bytes that GDAL reads at least where it cannot know how many it needs: the index of a file."""
SAME_BYTES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.fixture(scope="module")
def server(folder: Path, harbour: HarbourCase) -> Iterator[str]:
    pytest.importorskip("moto.server", reason="moto is not installed: no S3 server here")
    pytest.importorskip("s3fs", reason="s3fs is not installed: no client for S3 here")
    with s3_process() as address:
        fill_bucket(address, folder)
        s3_client(address).upload_file(str(harbour.path), BUCKET, "harbour.tif")
        yield address


@pytest.fixture(scope="module")
def process(server: str) -> Iterator[FaultProxy]:
    with fault_proxy(server) as proxy:
        yield proxy


@pytest.fixture
def proxy(process: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    """The way to the store, without faults, named by the environment; and no waiting between attempts."""
    for name, value in {
        "AWS_ENDPOINT_URL": process.url, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipeline.retrying.time.sleep", lambda _: None)
    process.faults = Faults()
    process.forget_traffic()
    return process


@pytest.fixture
def ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL itself tries nothing twice."""
    options = partial(lambda: remote_options() | {"GDAL_HTTP_MAX_RETRY": 0})
    monkeypatch.setattr("pipeline.raster.gdal.remote_options", options)


@pytest.fixture
def bucket(server: str) -> str:
    """An empty bucket."""
    name = f"results-{uuid.uuid4().hex[:8]}"
    fill_bucket(server, name=name)
    return name


def block(scene: Scene, window: Window = WINDOW) -> NDArray[np.uint8]:
    with SceneReader(scene, native(scene), measure_stretch(scene, PLAIN), PLAIN) as reader:
        return reader.read(window)[0]


def thumbnail(scene: Scene) -> NDArray[np.uint8]:
    return read_thumbnail(scene, measure_stretch(scene, PLAIN), PLAIN, 500)[0]


def signed(address: str, key: str) -> str:
    """An https address as people pass it on: the credential is in its query."""
    url: str = s3_client(address).generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
    return url


# -- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ours_alone")
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("cog.tif", Fault.BUSY), ("cog.tif", Fault.CUT_ANSWER), ("cog.tif", Fault.LOST_ANSWER),
        ("tiled.tif", Fault.BUSY), ("tiled.tif", Fault.CUT_ANSWER), ("signed cog.tif", Fault.BUSY),
    ],
)  # fmt: skip
def test_no_single_fault_changes_what_is_read(name: str, fault: Fault, proxy: FaultProxy) -> None:
    """Every request of opening, of a block and of a thumbnail fails once: headers and pixels stay the same.

    A piece of the index that does not come reads as zeros, a tag as none; GDAL calls neither a failure.
    """
    key = name.split()[-1]
    uri = signed(proxy.url, key) if name.startswith("signed") else f"s3://{BUCKET}/{key}"
    good = open_scene(uri, PLAIN)
    expected = {block: block(good), thumbnail: thumbnail(good)}
    assert expected[block].min() > 0
    struck = 0
    for read in (lambda _: open_scene(uri, PLAIN), block, thumbnail):
        for ordinal in range(40):
            proxy.forget_traffic()
            proxy.faults = Faults(script={ordinal: fault})
            got = read(good)
            if not proxy.traffic.faults():
                break
            struck += 1
            assert np.array_equal(got, expected[read]) if read in expected else got == good, f"{read} request {ordinal}"
    assert struck >= 7


def test_a_bad_network_changes_nothing_either(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of all answers fails, at random, with GDAL's own retries at work."""
    quick = partial(lambda: remote_options() | {"GDAL_HTTP_RETRY_DELAY": 0.01})
    monkeypatch.setattr("pipeline.raster.gdal.remote_options", quick)
    good = open_scene(f"s3://{BUCKET}/cog.tif", PLAIN)
    expected = block(good), thumbnail(good)
    for seed in range(4):
        shares = {Fault.BUSY: 0.15, Fault.CUT_ANSWER: 0.05, Fault.LOST_ANSWER: 0.05}
        proxy.faults = Faults(shares=shares, seed=seed)
        scene = open_scene(f"s3://{BUCKET}/cog.tif", PLAIN)
        assert scene == good
        assert all(np.array_equal(*pair) for pair in zip((block(scene), thumbnail(scene)), expected, strict=True))
    assert len(proxy.traffic.faults()) == 3


@pytest.mark.usefixtures("ours_alone")
@pytest.mark.parametrize("address", ["s3", "http"])
def test_a_store_that_stays_down_is_a_storage_error_after_the_agreed_attempts(
    address: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("pipeline.retrying.time.sleep", pauses.append)
    uri = f"s3://{BUCKET}/cog.tif" if address == "s3" else signed(proxy.url, "cog.tif")
    good = open_scene(uri, PLAIN)
    proxy.faults = Faults.storm()
    for read in (lambda _: open_scene(uri, PLAIN), block):
        pauses.clear()
        with pytest.raises(StorageError) as caught:
            read(good)
        assert len(pauses) == len(PATIENCE.pauses_s)
        assert all(base <= pause <= 1.25 * base for base, pause in zip(PATIENCE.pauses_s, pauses, strict=True))
        assert "Signature" not in str(caught.value)
    proxy.faults = Faults()
    with SceneReader(good, native(good), measure_stretch(good, PLAIN), PLAIN) as reader:
        reader.read(WINDOW)
        proxy.faults = Faults.storm()
        with pytest.raises(StorageError):
            reader.read(replace(WINDOW, y=100))
        proxy.faults = Faults()
        assert reader.read(WINDOW)[0].any(), "a reader outlives the storm"


@pytest.mark.usefixtures("ours_alone")
def test_what_is_permanent_is_not_asked_again(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing scene at once, one that looks damaged after a second look."""
    pauses: list[float] = []
    monkeypatch.setattr("pipeline.retrying.time.sleep", pauses.append)
    for uri in (f"s3://{BUCKET}/none.tif", signed(proxy.url, "none.tif"), "s3://nobody/none.tif"):
        with pytest.raises(SceneNotFound):
            open_scene(uri, PLAIN)
    with pytest.raises(SceneUnreadable, match="refuses"):
        open_scene(f"{proxy.url}/{BUCKET}/cog.tif", PLAIN)
    assert pauses == []
    with pytest.raises(SceneUnreadable, match="no raster"):
        open_scene(f"s3://{BUCKET}/text.tif", PLAIN)
    assert len(pauses) == 1


def test_a_scene_that_was_replaced_is_read_anew(proxy: FaultProxy, server: str, folder: Path, bucket: str) -> None:
    """The same process, the same address, another file."""
    client = s3_client(server)
    client.upload_file(str(folder / "cog.tif"), bucket, "a.tif")
    before = open_scene(f"s3://{bucket}/a.tif", PLAIN)
    write_geotiff(folder / "other.tif", np.full((100, 120, 3), 7, np.uint8))
    client.upload_file(str(folder / "other.tif"), bucket, "a.tif")
    assert (before.width, open_scene(f"s3://{bucket}/a.tif", PLAIN).width) == (SIDE, 120)


# -- how much is read -----------------------------------------------------------------------------------------------


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


def byte_ranges(proxy: FaultProxy, key: str) -> list[tuple[int, int]]:
    """(first, past the last) byte of every GET of an object."""
    asked = [re.fullmatch(r"bytes=(\d+)-(\d+)", one.range or "") for one in proxy.traffic.of("GET", key)]
    assert all(asked), "a GET without a range"
    return [(int(one[1]), int(one[2]) + 1) for one in asked if one]


@pytest.mark.parametrize(
    ("name", "window", "index_gets"),
    [("noise_cog.tif", NOISE_WINDOW, 0), ("noise.tif", NOISE_WINDOW, 2), ("cog.tif", WINDOW, 1)],
)
def test_a_block_costs_its_header_and_its_bytes_and_no_more(
    name: str, window: Window, index_gets: int, proxy: FaultProxy, folder: Path
) -> None:
    """One GET for each run of neighbouring file blocks, of exactly its bytes; one for the header, and the index.

    ``index_gets``: pages of a file's index that lie beyond what opening reads, as in a large file, or at the end of
    one that is no COG.
    """
    scene = open_scene(f"s3://{BUCKET}/{name}", PLAIN)
    runs = needed_ranges(folder / name, scene, window)
    assert len(runs) >= 4
    proxy.forget_traffic()
    block(scene, window)
    ranges = Counter(byte_ranges(proxy, name))
    for start, end in runs:
        matching = [one for one in ranges if start - 4 <= one[0] <= start and end <= one[1] <= end + 4]
        assert matching, f"bytes {start} to {end} were not asked for as one range"
        ranges -= Counter(matching[:1])
    assert len(proxy.traffic.of("HEAD")) == 0
    rest = list(ranges.elements())
    assert len(rest) <= 1 + index_gets, rest
    assert sum(end - start for start, end in rest) <= OPENING + index_gets * GDAL_PAGE
    sent = sum(one.bytes_out for one in proxy.traffic.requests)
    assert sent <= sum(end - start for start, end in runs) + 8 * len(runs) + OPENING + index_gets * GDAL_PAGE


def test_a_run_reads_what_its_plan_needs(proxy: FaultProxy, harbour: HarbourCase, tmp_path: Path) -> None:
    """Opening once per block and look; the pixels of each block; the whole small scene for its stretch and picture."""
    config = run_config(f"s3://{BUCKET}/harbour.tif", tmp_path, block_mpx=0.06)
    plan, _ = screen(plan_scene(config.scene[0], config, harbour.card, None), config, harbour.card)
    scene = plan.scene
    assert len(plan.blocks) >= 4
    proxy.forget_traffic()
    assert detect(config, harbour.card, LocalExecutor(harbour.load_oracle), SILENT).exit_code == 0
    windows = [source_window(one.window, plan.lattice, scene.width, scene.height) for one in plan.blocks]
    whole = Window(x=0, y=0, width=scene.width, height=scene.height)
    looks = [whole, whole, *windows]  # stretch, thumbnail, blocks; preview_px is 0
    runs = [needed_ranges(harbour.path, scene, window) for window in looks]
    needed = sum(end - start for run in runs for start, end in run)
    gets = proxy.traffic.of("GET", "harbour.tif")
    assert sum(one.bytes_out for one in gets) <= needed + (1 + len(looks)) * OPENING
    assert len(gets) <= 1 + sum(1 + len(run) for run in runs)
    assert not [one for one in proxy.traffic.requests if "harbour" not in one.path], "no listing, no side-car files"


# -- writing --------------------------------------------------------------------------------------------------------


def publish(out: str, files: dict[str, bytes]) -> str:
    with staging_folder(out, "scene") as staged:
        for name, content in files.items():
            (staged / name).write_bytes(content)
        return publish_folder(staged, out, "scene")


def kept(server: str, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket, past the proxy."""
    client = s3_client(server)
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CUT_UPLOAD, Fault.LOST_ANSWER])
def test_no_single_fault_changes_what_is_written(fault: Fault, proxy: FaultProxy, server: str, bucket: str) -> None:
    """Every request of a publication fails once, also after the store did what it was asked."""
    files = {"a.bin": b"a" * 100_000, "b.bin": b"bb"}
    for ordinal in range(40):
        proxy.forget_traffic()
        proxy.faults = Faults(script={ordinal: fault})
        publish(f"s3://{bucket}/{ordinal}", files)
        objects = {key.rsplit("/", 1)[1]: value for key, value in kept(server, bucket).items()
                   if key.startswith(f"{ordinal}/")}  # fmt: skip
        manifest = json.loads(objects.pop(MANIFEST))["files"]
        assert objects == files
        assert {name: entry["sha256"] for name, entry in manifest.items()} == {
            name: hashlib.sha256(content).hexdigest() for name, content in files.items()
        }
        if not proxy.traffic.faults():
            break
    assert 4 <= ordinal < 39


def test_a_publication_that_breaks_off_leaves_no_manifest(proxy: FaultProxy, server: str, bucket: str) -> None:
    """The second file never arrives: neither the new result nor the one before passes for whole; trying again heals."""
    out, new = f"s3://{bucket}/out", {"a.bin": b"new", "b.bin": b"new" * 50_000}
    publish(out, {"a.bin": b"old", "b.bin": b"old", "stale.bin": b"old"})
    assert exists(f"{out}/scene/{MANIFEST}")
    proxy.faults = Faults(shares={Fault.CUT_UPLOAD: 1.0}, methods=frozenset({"PUT"}), path=r"/b\.bin$")
    with pytest.raises(StorageError, match=f"cannot publish scene to s3://{bucket}/out, after 4 attempts"):
        publish(out, new)
    assert f"out/scene/{MANIFEST}" not in kept(server, bucket)
    proxy.faults = Faults()
    publish(out, new)
    assert sorted(kept(server, bucket)) == ["out/scene/a.bin", "out/scene/b.bin", f"out/scene/{MANIFEST}"]
    assert kept(server, bucket)["out/scene/b.bin"] == new["b.bin"]


def test_a_large_file_goes_in_parts_and_leaves_none_behind(
    proxy: FaultProxy, server: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 100 MiB an upload has parts. What is given up is aborted; what is tried again is whole."""
    (tmp_path / "scene").mkdir()
    large = tmp_path / "scene" / "large.bin"
    with large.open("wb") as file:
        file.truncate(106_000_000)
    client = s3_client(server)
    proxy.faults = Faults(script={1: Fault.CUT_UPLOAD}, methods=frozenset({"PUT"}), path=r"large\.bin$")
    publish_folder(tmp_path / "scene", f"s3://{bucket}/out", "scene")
    assert len(proxy.traffic.of("PUT", "large")) >= 3
    assert client.head_object(Bucket=bucket, Key="out/scene/large.bin")["ContentLength"] == 106_000_000
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    proxy.faults = Faults.storm(methods=frozenset({"PUT"}), path=r"large\.bin$")
    monkeypatch.setattr("pipeline.retrying.PATIENCE", Patience(pauses_s=()))
    with pytest.raises(StorageError):
        publish_folder(tmp_path / "scene", f"s3://{bucket}/other", "scene")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert not [key for key in kept(server, bucket) if key.startswith("other/")]


def test_what_the_environment_says_now_counts(
    proxy: FaultProxy, server: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process, two endpoints one after the other: fsspec keeps its clients, and those of another store must go."""
    check_writable(f"s3://{bucket}/out")
    proxy.forget_traffic()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    check_writable(f"s3://{bucket}/out")
    assert not proxy.traffic.requests
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    check_writable(f"s3://{bucket}/out")
    assert proxy.traffic.requests


@pytest.mark.parametrize("scheme", ["gs", "az", "abfs"])
def test_a_missing_back_end_is_one_sentence(scheme: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match=f"no file system for {scheme}:// is installed; see the extras") as caught:
        check_writable(f"{scheme}://bucket/out")
    assert "\n" not in str(caught.value)


# -- both -----------------------------------------------------------------------------------------------------------


def run_config(scene: str, out: object, block_mpx: float = 0.2) -> RunConfig:
    return RunConfig(
        scene=(scene,), out=str(out), tiling=TilingConfig(tile_px=224, halo_px=48, block_mpx=block_mpx),
        detector=DetectorConfig(batch=2), output=OutputConfig(preview_px=0),
    )  # fmt: skip


def test_results_through_a_storm_are_the_local_ones_byte_for_byte(
    proxy: FaultProxy, server: str, bucket: str, harbour: HarbourCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of all requests is answered 503, others are cut or lost, on the way in and on the way out."""
    quick = partial(lambda: remote_options() | {"GDAL_HTTP_RETRY_DELAY": 0.01})
    monkeypatch.setattr("pipeline.raster.gdal.remote_options", quick)
    card = model_card("builtin:ships-s2")
    executor = LocalExecutor(partial(load, "builtin:ships-s2", "cpu", "float32", 1))

    def run(config: RunConfig) -> RunReport:
        return detect(config, card, executor, SILENT)

    local = run(run_config(str(harbour.path), tmp_path))
    assert local.scenes[0].detections > 0
    shares = {Fault.BUSY: 0.25, Fault.CUT_ANSWER: 0.05, Fault.LOST_ANSWER: 0.05, Fault.CUT_UPLOAD: 0.05}
    proxy.faults = Faults(shares=shares, seed=1)
    remote = run(run_config(f"s3://{BUCKET}/harbour.tif", f"s3://{bucket}/out"))
    assert remote.exit_code == 0
    assert len(proxy.traffic.faults()) >= 3
    written = kept(server, bucket)
    for name in SAME_BYTES:
        assert written[f"out/harbour/{name}"] == (tmp_path / "harbour" / name).read_bytes(), name
    assert json.loads(read_text(f"s3://{bucket}/out/harbour/{MANIFEST}"))["files"].keys() >= set(SAME_BYTES)


def test_a_store_that_fails_once_the_scene_is_published_leaves_it_published(
    proxy: FaultProxy, server: str, bucket: str, harbour: HarbourCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be removed: parts of other settings and the lease stay, both are said, and the result stands."""
    monkeypatch.setattr("pipeline.retrying.PATIENCE", Patience(pauses_s=()))
    first = replace(run_config(str(harbour.path), f"s3://{bucket}/out"), work=WorkConfig(lease_s=2.0))
    then = replace(first, tiling=replace(first.tiling, tile_px=240), clean=True)
    said: list[str] = []

    def run(config: RunConfig) -> RunReport:
        return detect(config, harbour.card, LocalExecutor(harbour.load_oracle), Journal(said.append))

    assert run(first).exit_code == 0
    stale = {key for key in kept(server, bucket) if "/_work/" in key}
    proxy.faults = Faults.storm(methods=frozenset({"DELETE"}), path=r"/_work/|\.lease$")
    report = run(then)
    assert (report.exit_code, report.scenes[0].status) == (0, "PUBLISHED")
    assert stale | {"out/.harbour.lease", f"out/harbour/{MANIFEST}"} <= kept(server, bucket).keys()
    (parts,) = [line for line in said if "parts of other settings" in line]
    (lease,) = [line for line in said if "its lease" in line]
    assert f"s3://{bucket}/out/harbour/_work" in parts
    assert f"s3://{bucket}/out/.harbour.lease" in lease
    proxy.faults = Faults()
    again = run(then)
    assert (again.exit_code, again.scenes[0].status) == (0, "PUBLISHED"), "a lease that stayed is taken over"
    assert "nothing to do" in again.scenes[0].message
