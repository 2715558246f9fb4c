"""Directories of TIFFs, and which of them GDAL may decode in threads: those that it then decodes as it does without."""

from __future__ import annotations

import itertools
import logging
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from pipeline.raster.gdal import EAR
from pipeline.raster.scene import open_scene
from pipeline.raster.source import Pixels
from pipeline.raster.tiff import BITS, COMPRESSION, FILL_ORDER, SAMPLES, directories, threads
from pipeline.types import Window
from tests.support.reading import CONFIG
from tests.support.scenes import picture, write_geotiff
from tests.support.tiffs import reverse_bits

SIDE = 150
COMPRESSIONS = ("NONE", "LZW", "PACKBITS", "DEFLATE", "JPEG", "LZMA", "ZSTD", "LERC", "LERC_DEFLATE", "LERC_ZSTD",
                "WEBP", "CCITTRLE", "CCITTFAX3", "CCITTFAX4")  # fmt: skip
PHOTOMETRICS = {"RGB": 3, "YCBCR": 3, "CMYK": 4, "CIELAB": 3, "MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1}
DTYPES = (("uint8", None), ("uint8", 1), ("uint8", 4), ("int16", None), ("uint16", 12), ("float32", None))


def variants() -> Iterator[tuple[str, int, str, int | None, dict[str, Any]]]:
    """Name, bands, type, bits and options of every kind of TIFF that this build may write."""
    for compress, (photometric, bands), (dtype, bits) in itertools.product(COMPRESSIONS, PHOTOMETRICS.items(), DTYPES):
        for interleave, predictor, tiled, order in itertools.product(
            ("pixel", "band"), (1, 2, 3), (True, False), ("LITTLE", "BIG")
        ):
            if predictor > 1 and compress not in ("LZW", "DEFLATE", "ZSTD"):
                continue
            options: dict[str, Any] = {"compress": compress, "photometric": photometric, "interleave": interleave}
            options |= {"tiled": tiled, "ENDIANNESS": order} | ({"blockxsize": 64, "blockysize": 64} if tiled else {})
            options |= {"predictor": predictor} if predictor > 1 else {}
            options |= {} if bits is None else {"nbits": bits}
            yield (
                f"{compress}-{photometric}-{dtype}-{bits}-{interleave}-{predictor}-{tiled}-{order}",
                bands,
                dtype,
                bits,
                options,
            )


def plain(path: Path) -> NDArray[Any]:
    """(C, H, W) as GDAL reads it in one thread."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_NUM_THREADS=1):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            pixels: NDArray[Any] = file.read()
    return pixels


def ours(path: Path) -> NDArray[Any]:
    """(C, H, W), every band, as our reader opens and reads the file."""
    with rasterio.open(path) as file:
        count = file.count
    config = replace(CONFIG, bands=tuple(range(1, count + 1)))
    scene = open_scene(str(path), config)
    pixels = Pixels(scene, config)
    read = pixels.read(Window(x=0, y=0, width=scene.width, height=scene.height)).transpose(2, 0, 1)
    pixels.close()
    return read


def check_kinds(folder: Path, kinds: Sequence[tuple[str, int, str, int | None, dict[str, Any]]]) -> int:
    """Write, read and compare; how many kinds this build writes."""
    tried, path = 0, folder / "kind.tif"
    for name, bands, dtype, bits, options in kinds:
        path.unlink(missing_ok=True)
        values = picture(SIDE, SIDE, bands, "uint8").astype(np.int64).transpose(2, 0, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                with (
                    EAR.listening() as signalled,
                    rasterio.open(
                        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=bands, dtype=dtype, **options
                    ) as file,
                ):
                    file.write((values % (1 << (bits or 8))).astype(dtype))
                expected = plain(path)
            except RasterioError:
                continue
            if any("WEBP requires data to be stored contiguously" in one for one in signalled):
                continue  # it is written all the same, and what is read again depends on the threads
            tried += 1
            np.testing.assert_array_equal(ours(path), expected, err_msg=name)
    return tried


@pytest.fixture
def _no_log() -> Iterator[None]:
    """GDAL says at length why it writes some kinds not."""
    log = logging.getLogger("rasterio")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


@pytest.mark.usefixtures("_no_log")
def test_many_kinds_of_tiff_are_read_as_in_a_single_thread(tmp_path: Path) -> None:
    assert check_kinds(tmp_path, random.Random(0).sample(list(variants()), 500)) > 150


@pytest.mark.slow
@pytest.mark.usefixtures("_no_log")
def test_every_kind_of_tiff_is_read_as_in_a_single_thread(tmp_path: Path) -> None:
    assert check_kinds(tmp_path, list(variants())) > 3600


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("compress", ["none", "packbits", "lzw", "deflate"])
def test_bits_in_reverse_order_are_put_right(tmp_path: Path, compress: str) -> None:
    pixels = picture(SIDE, SIDE, 1)
    path = write_geotiff(tmp_path / "scene.tif", pixels, tiled=False, block_px=32, compress=compress)
    reverse_bits(path)
    assert directories(path)[0][FILL_ORDER] == (2,)
    assert threads(path) == 1
    np.testing.assert_array_equal(ours(path)[0], pixels[..., 0])
    np.testing.assert_array_equal(ours(path), plain(path))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        *itertools.product(["L", "1", "I;16", "F", "RGB", "P"], ["raw", "tiff_adobe_deflate", "tiff_lzw", "packbits"]),
        ("L", "jpeg"), ("RGB", "jpeg"), ("1", "group4"),
    ],
)  # fmt: skip
def test_what_pillow_writes_is_read(tmp_path: Path, mode: str, compression: str) -> None:
    """Its greyscale TIFFs lack the tag SamplesPerPixel."""
    path, grey = tmp_path / "pillow.tif", picture(SIDE, SIDE, 1)[..., 0]
    image = Image.fromarray(grey.astype(np.uint16)) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    image.save(path, compression=compression)
    scene = open_scene(str(path), CONFIG)
    with_pixels = Pixels(scene, CONFIG)
    read = with_pixels.read(Window(x=0, y=0, width=scene.width, height=scene.height))
    with_pixels.close()
    if with_pixels.palette is None:
        np.testing.assert_array_equal(read[..., 0], plain(path)[0])


def test_directories_of_a_tiff_are_told_in_either_byte_order_and_size(tmp_path: Path) -> None:
    for order, big in itertools.product(("LITTLE", "BIG"), ("YES", "NO")):
        path = tmp_path / f"{order}{big}.tif"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8",
                               compress="lzw", ENDIANNESS=order, BIGTIFF=big) as file:  # fmt: skip
                file.write(picture(64, 64).transpose(2, 0, 1))
        page = directories(path)[0]
        assert (page[COMPRESSION], page[SAMPLES], page[BITS]) == ((5,), (3,), (8, 8, 8))
        assert threads(path) == 2
        data = path.read_bytes()
        for length in range(0, len(data), 97):
            path.write_bytes(data[:length])
            directories(path)


def test_what_is_no_tiff_has_no_directories(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    path.write_bytes(b"\x89PNG" + bytes(100))
    assert directories(path) == []
    assert threads(path) == 1
