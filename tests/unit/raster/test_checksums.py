"""Zeros in the middle of a block that is compressed by DEFLATE: GDAL makes pixels of them, and says nothing."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.errors import SceneUnreadable
from pipeline.raster.scene import open_scene
from pipeline.raster.source import Pixels
from pipeline.types import Window
from tests.support.reading import CONFIG
from tests.support.scenes import NORTH_UP, UTM, picture, write_geotiff

SIDE, BLOCK = 256, 128
WHOLE = Window(x=0, y=0, width=SIDE, height=SIDE)


def zero(path: Path, column: int, row: int, band: int, start: float, count: int) -> None:
    """``count`` bytes of a block, from a share of its length on, as a disk or a download loses them."""
    with rasterio.open(path) as file:
        offset, size = (
            int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band)) for what in ("OFFSET", "SIZE")
        )
    with path.open("r+b") as raw:
        raw.seek(offset + int(size * start))
        raw.write(bytes(min(count, size - int(size * start))))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("interleave", "band"), [("pixel", 1), ("band", 3)])
@pytest.mark.parametrize(("tiled", "place"), [(True, (1, 1)), (False, (0, 1))])
@pytest.mark.parametrize(("start", "count"), [(0.3, 264), (0.5, 512), (0.1, 4096), (0.5, 10**6)])
def test_a_block_with_lost_bytes_is_damaged_and_its_neighbours_are_not(
    dtype: str, interleave: str, band: int, tiled: bool, place: tuple[int, int], start: float, count: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    pixels = picture(SIDE, SIDE, dtype=dtype)
    path = write_geotiff(tmp_path / "a.tif", pixels, tiled=tiled, block_px=BLOCK, interleave=interleave)
    zero(path, *place, band, start, count)
    scene = open_scene(str(path), CONFIG)
    with closing(Pixels(scene, CONFIG)) as source:
        for window in (WHOLE, Window(x=200, y=200, width=10, height=10)):
            with pytest.raises(SceneUnreadable, match="is damaged"):
                source.read(window)
        above = Window(x=0, y=0, width=SIDE, height=BLOCK)
        np.testing.assert_array_equal(source.read(above), pixels[:BLOCK])


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("value", [0, 255])
def test_large_areas_of_one_value_hold_zeros_and_are_whole(interleave: str, value: int, tmp_path: Path) -> None:
    pixels = np.full((1024, 1024, 3), value, np.uint8)
    pixels[:300, :300] = picture(300, 300)
    path = write_geotiff(tmp_path / "a.tif", pixels, block_px=512, interleave=interleave)
    scene = open_scene(str(path), CONFIG)
    with closing(Pixels(scene, CONFIG)) as source:
        np.testing.assert_array_equal(source.read(Window(x=0, y=0, width=1024, height=1024)), pixels)


def test_a_block_without_its_end_is_read_as_gdal_reads_it(tmp_path: Path) -> None:
    """Some writers leave the checksum out; what has none cannot contradict it."""
    pixels = np.zeros((1024, 1024, 1), np.uint8)
    path = write_geotiff(tmp_path / "a.tif", pixels, tiled=False, block_px=1024)
    data = bytearray(path.read_bytes())
    with rasterio.open(path) as file:
        size = int(file.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1))
    entry = data.index(struct.pack("<HHI", 279, 4, 1)) if struct.pack("<HHI", 279, 4, 1) in data else data.index(
        struct.pack("<HHI", 279, 3, 1)
    )  # fmt: skip
    struct.pack_into("<H", data, entry + 8, size - 4)
    path.write_bytes(data)
    scene = open_scene(str(path), CONFIG)
    with closing(Pixels(scene, CONFIG)) as source:
        assert not source.read(Window(x=0, y=0, width=1024, height=1024)).any()


@pytest.mark.parametrize("size", [0xFFFFFFF0, 0x7FFFFFFF])
def test_a_block_that_says_it_is_longer_than_the_file_takes_no_memory(size: int, tmp_path: Path) -> None:
    """Found by fuzzing: 4 GB were reserved for it before a byte was read."""
    path = write_geotiff(tmp_path / "a.tif", picture(SIDE, SIDE), block_px=BLOCK)
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    fields = {struct.unpack_from("<H", content, start + 2 + 12 * n)[0]: start + 2 + 12 * n for n in range(entries)}
    kind, count, counts = struct.unpack_from("<HII", content, fields[325] + 2)  # TileByteCounts
    assert (kind, count) == (4, 4)
    struct.pack_into("<I", content, counts + 4, size)  # of the second tile
    path.write_bytes(content)
    scene = open_scene(str(path), CONFIG)
    with closing(Pixels(scene, CONFIG)) as source:
        source.read(Window(x=0, y=0, width=BLOCK, height=BLOCK))
        tracemalloc.start()
        with contextlib.suppress(SceneUnreadable):
            source.read(WHOLE)
        reserved = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert reserved < 1 << 26


def strips(path: Path, pixels: np.ndarray, rows: int, stored_rows: int, *, tiled: bool = False) -> Path:
    """A grey TIFF in strips (or square tiles) of ``rows``, whose last holds ``stored_rows``, written byte by byte."""
    height, width = pixels.shape
    full = np.pad(pixels, ((0, rows), (0, 0)), mode="edge")
    ends = [min(top + rows, height) for top in range(0, height, rows)]
    ends[-1] = (len(ends) - 1) * rows + stored_rows
    blocks = [zlib.compress(full[at * rows : end].tobytes()) for at, end in enumerate(ends)]
    offsets = np.cumsum([8, *map(len, blocks)])[:-1].tolist()
    size, offset = (325, 324) if tiled else (279, 273)
    shape = [(322, [width]), (323, [rows])] if tiled else [(278, [rows])]
    tags = [(256, [width]), (257, [height]), (258, [8]), (259, [8]), (262, [1]), (277, [1]), *shape]
    tags += [(offset, offsets), (size, [len(block) for block in blocks])]
    data, entries = bytearray(b"II*\0\0\0\0\0" + b"".join(blocks)), b""
    for tag, values in sorted(tags):
        raw = struct.pack(f"<{len(values)}I", *values)
        if len(raw) > 4:
            data, raw = data + raw, struct.pack("<I", len(data))
        entries += struct.pack("<HHI", tag, 4, len(values)) + raw
    struct.pack_into("<I", data, 4, len(data))
    path.write_bytes(bytes(data) + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


def grey(height: int, width: int) -> np.ndarray:
    """Pixels whose compressed form repeats far back, so that a repetition crosses the end of the room."""
    return np.ascontiguousarray(picture(height, width)[..., 0] // 24 * 24)


@pytest.mark.parametrize(("rows", "height", "stored"), [(64, 50, 64), (64, 114, 64), (64, 128, 70)])
def test_a_strip_that_is_filled_up_is_refused_for_its_last_pixels_would_be_those_of_another(
    rows: int, height: int, stored: int, tmp_path: Path
) -> None:
    pixels = grey(height, 300)
    path = strips(tmp_path / "a.tif", pixels, rows, stored)
    scene = open_scene(str(path), CONFIG)
    with closing(Pixels(scene, CONFIG)) as source:
        last = Window(x=0, y=height - 10, width=300, height=10)
        with pytest.raises(SceneUnreadable, match="holds more than it has room for"):
            source.read(last)
        with pytest.raises(SceneUnreadable, match="holds more than it has room for"):
            source.read(last)  # files were opened anew


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("height", [64, 128, 114])
def test_blocks_that_hold_what_they_have_room_for_are_read(height: int, tiled: bool, tmp_path: Path) -> None:
    """Tiles are whole even at the lower edge; the last strip has the lines that are left."""
    pixels = grey(height, 64)
    path = strips(tmp_path / "a.tif", pixels, 64, 64 if tiled else (height - 1) % 64 + 1, tiled=tiled)
    scene = open_scene(str(path), CONFIG)
    with closing(Pixels(scene, CONFIG)) as source:
        whole = source.read(Window(x=0, y=0, width=64, height=height))
        np.testing.assert_array_equal(whole[..., 0], pixels)


def test_a_page_in_strips_behind_one_in_tiles_does_not_make_its_tiles_strips(tmp_path: Path) -> None:
    """As slides of microscopes have labels. Whole tiles hang over the lower edge, strips end there."""
    pixels, path = grey(100, 64), tmp_path / "a.tif"
    write_geotiff(path, pixels[..., None])
    label = {"width": 40, "height": 40, "count": 1, "dtype": "uint8", "compress": "deflate", "crs": UTM}
    with rasterio.open(path, "w", transform=NORTH_UP, APPEND_SUBDATASET="YES", **label) as file:
        file.write(pixels[None, :40, :40])
    with closing(Pixels(open_scene(str(path), CONFIG), CONFIG)) as source:
        whole = source.read(Window(x=0, y=0, width=64, height=100))
        np.testing.assert_array_equal(whole[..., 0], pixels)


def test_tiles_smaller_than_what_they_hold_are_damage(tmp_path: Path) -> None:
    """As a byte changed in the header makes them."""
    pixels = grey(192, 64)
    path = strips(tmp_path / "a.tif", pixels, 64, 64, tiled=True)
    data = path.read_bytes()
    length = struct.pack("<HHII", 323, 4, 1, 64)
    assert data.count(length) == 1
    path.write_bytes(data.replace(length, struct.pack("<HHII", 323, 4, 1, 48)))
    scene = open_scene(str(path), CONFIG)
    with closing(Pixels(scene, CONFIG)) as source, pytest.raises(SceneUnreadable, match="has room for"):
        source.read(Window(x=0, y=0, width=64, height=10))
