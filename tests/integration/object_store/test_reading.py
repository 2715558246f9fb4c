"""Scenes from an S3 server through a proxy that fails on purpose: nothing lost, no more read.

GDAL's own retries are switched off where ours are to be seen.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import SceneNotFound, SceneUnreadable, StorageError
from pipeline.raster.overview import measure_stretch
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.retrying import PATIENCE
from pipeline.types import Window
from tests.support.fault_proxy import FaultProxy
from tests.support.object_store import OPENING, PLAIN, SIDE, WINDOW, block, needed_ranges, signed, thumbnail
from tests.support.patience import OURS_ALONE, OURS_ALONE_QUICK, QUICK
from tests.support.proxy_faults import Fault, Faults
from tests.support.reading import native
from tests.support.scenes import write_geotiff
from tests.support.servers import BUCKET, s3_client

NOISE_WINDOW = Window(x=300, y=300, width=600, height=400)
GDAL_PAGE = 16_384
"""Bytes that GDAL reads at least where it cannot know how many it needs: the index of a file."""


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
    read_block, read_picture = (partial(read, patience=OURS_ALONE_QUICK) for read in (block, thumbnail))
    expected = {read_block: read_block(good), read_picture: read_picture(good)}
    assert expected[read_block].min() > 0
    struck = 0
    for read in (lambda _: open_scene(uri, PLAIN, OURS_ALONE_QUICK), read_block, read_picture):
        for ordinal in range(40):
            proxy.forget_traffic()
            proxy.faults = Faults(script={ordinal: fault})
            got = read(good)
            if not proxy.traffic.faults():
                break
            struck += 1
            assert np.array_equal(got, expected[read]) if read in expected else got == good, f"{read} request {ordinal}"
    assert struck >= 7


def test_a_bad_network_changes_nothing_either(proxy: FaultProxy) -> None:
    """A quarter of all answers fails, at random, with GDAL's own retries at work."""
    good = open_scene(f"s3://{BUCKET}/cog.tif", PLAIN)
    expected = block(good), thumbnail(good)
    for seed in range(4):
        shares = {Fault.BUSY: 0.15, Fault.CUT_ANSWER: 0.05, Fault.LOST_ANSWER: 0.05}
        proxy.faults = Faults(shares=shares, seed=seed)
        scene = open_scene(f"s3://{BUCKET}/cog.tif", PLAIN, QUICK)
        assert scene == good
        assert all(np.array_equal(*pair) for pair in zip((block(scene), thumbnail(scene)), expected, strict=True))
    assert len(proxy.traffic.faults()) == 3


@pytest.mark.parametrize("address", ["s3", "http"])
def test_a_store_that_stays_down_is_a_storage_error_after_the_agreed_attempts(
    address: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    uri = f"s3://{BUCKET}/cog.tif" if address == "s3" else signed(proxy.url, "cog.tif")
    good = open_scene(uri, PLAIN)
    proxy.faults = Faults.storm()
    for read in (lambda _: open_scene(uri, PLAIN, OURS_ALONE), partial(block, patience=OURS_ALONE)):
        pauses.clear()
        with pytest.raises(StorageError) as caught:
            read(good)
        assert len(pauses) == len(PATIENCE.pauses_s)
        assert all(base <= pause <= 1.25 * base for base, pause in zip(PATIENCE.pauses_s, pauses, strict=True))
        assert "Signature" not in str(caught.value)
    proxy.faults = Faults()
    with SceneReader(good, native(good), measure_stretch(good, PLAIN), PLAIN, OURS_ALONE_QUICK) as reader:
        reader.read(WINDOW)
        proxy.faults = Faults.storm()
        with pytest.raises(StorageError):
            reader.read(replace(WINDOW, y=100))
        proxy.faults = Faults()
        assert reader.read(WINDOW)[0].any(), "a reader outlives the storm"


def test_what_is_permanent_is_not_asked_again(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing scene at once, one that looks damaged after a second look."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    for uri in (f"s3://{BUCKET}/none.tif", signed(proxy.url, "none.tif"), "s3://nobody/none.tif"):
        with pytest.raises(SceneNotFound):
            open_scene(uri, PLAIN, OURS_ALONE)
    with pytest.raises(SceneUnreadable, match="refuses"):
        open_scene(f"{proxy.url}/{BUCKET}/cog.tif", PLAIN, OURS_ALONE)
    assert pauses == []
    with pytest.raises(SceneUnreadable, match="no raster"):
        open_scene(f"s3://{BUCKET}/text.tif", PLAIN, OURS_ALONE)
    assert len(pauses) == 1


def test_a_scene_that_was_replaced_is_read_anew(proxy: FaultProxy, server: str, folder: Path, bucket: str) -> None:
    """The same process, the same address, another file."""
    client = s3_client(server)
    client.upload_file(str(folder / "cog.tif"), bucket, "a.tif")
    before = open_scene(f"s3://{bucket}/a.tif", PLAIN)
    write_geotiff(folder / "other.tif", np.full((100, 120, 3), 7, np.uint8))
    client.upload_file(str(folder / "other.tif"), bucket, "a.tif")
    assert (before.width, open_scene(f"s3://{bucket}/a.tif", PLAIN).width) == (SIDE, 120)


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
