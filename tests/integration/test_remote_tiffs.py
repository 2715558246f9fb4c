"""TIFFs that GDAL's threads read otherwise than they are, from a server: what no local file's tags can be asked for."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import RasterConfig
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.types import Stretch
from tests.support.patience import QUICK
from tests.support.reading import native
from tests.support.scenes import picture, write_geotiff
from tests.support.servers import http_server
from tests.support.tiffs import reverse_bits

SIDE = 150
AS_IT_IS = Stretch(kind="none", low=(0.0,) * 3, high=(255.0,) * 3, source="test")
CONFIG = RasterConfig(stretch="none")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def check(path: Path, expected: np.ndarray) -> None:
    """Of one bit GDAL makes 0 and 255."""
    with http_server(path.parent) as server:
        scene = open_scene(f"{server.url}/{path.name}", CONFIG, patience=QUICK)
        with SceneReader(scene, native(scene), AS_IT_IS, CONFIG, QUICK) as reader:
            shown = reader.read(native(scene).window)[0][..., 0]
    np.testing.assert_array_equal(shown if expected.max() > 1 else shown > 0, expected)


@pytest.mark.parametrize("compress", ["none", "packbits", "lzw", "deflate"])
@pytest.mark.parametrize("tiled", [True, False])
def test_bits_in_reverse_order_are_put_right(compress: str, tiled: bool, tmp_path: Path) -> None:
    pixels = picture(SIDE, SIDE, 1)
    path = write_geotiff(tmp_path / "scene.tif", pixels, tiled=tiled, block_px=64 if tiled else 32, compress=compress)
    reverse_bits(path)
    check(path, pixels[..., 0])


@pytest.mark.parametrize(
    ("mode", "compression"),
    [*itertools.product(["L", "1"], ["raw", "tiff_adobe_deflate", "tiff_lzw", "packbits"]), ("1", "group4")],
)
def test_what_pillow_writes_is_read(mode: str, compression: str, tmp_path: Path) -> None:
    image = Image.fromarray(picture(SIDE, SIDE, 1)[..., 0]).convert(mode)
    image.save(tmp_path / "pillow.tif", compression=compression)
    check(tmp_path / "pillow.tif", np.asarray(image).astype(np.uint8))
