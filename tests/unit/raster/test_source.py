"""The open files of a scene: what is damaged is named."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from pipeline.errors import SceneError, SceneUnreadable
from pipeline.raster.overview import measure_stretch
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
from pipeline.raster.source import Pixels
from pipeline.types import Window
from tests.support.reading import CONFIG, native
from tests.support.scenes import HEIGHT, WIDTH, picture, write_geotiff


def test_damage_inside_a_file_is_named_with_its_place(tmp_path: Path) -> None:
    """Headers cannot tell; reading the damaged block does, and the other blocks stay readable."""
    path = write_geotiff(tmp_path / "scene.tif", picture(HEIGHT, WIDTH))
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 200] = bytes(198)
    path.write_bytes(data)
    scene = open_scene(str(path), CONFIG)
    with SceneReader(scene, native(scene), measure_stretch(scene, CONFIG), CONFIG) as reader:
        with pytest.raises(SceneUnreadable, match=r"damaged: columns 64 to 128, rows 64 to 128"):
            reader.read(Window(x=64, y=64, width=64, height=64))
        assert (reader.read(Window(x=0, y=0, width=64, height=64))[0] == picture(HEIGHT, WIDTH)[:64, :64]).all()


GTIFFS = ("NONE", "LZW", "PACKBITS", "DEFLATE", "JPEG", "LZMA", "ZSTD", "LERC", "LERC_ZSTD", "LERC_DEFLATE", "WEBP",
          "CCITTRLE", "CCITTFAX3", "CCITTFAX4")  # fmt: skip
CODECS = (*GTIFFS, "JP2", "JP2 of tiles", "PNG", "JPG", "progressive JPG")
BLIND = ("NONE", "PACKBITS", "DEFLATE", "ZSTD", "WEBP", "CCITTRLE", "CCITTFAX3", "CCITTFAX4")
"""Their decoders (in libtiff) make pixels of zeros and compare no checksum; Fax remarks on lines that are too short."""
SIDE = 512
WINDOWS = [Window(x=x, y=y, width=128, height=128) for y in range(0, SIDE, 128) for x in range(0, SIDE, 128)]
WHOLE = Window(x=0, y=0, width=SIDE, height=SIDE)


def write_in(folder: Path, codec: str) -> Path:
    """A scene of SIDE² pixels with a lot in it."""
    rng = np.random.default_rng(7)
    pixels = (rng.integers(0, 3, (SIDE, SIDE, 3)).cumsum(axis=1) % 251).astype(np.uint8)
    if codec in GTIFFS:
        profile = {"compress": codec, "tiled": True, "blockxsize": 128, "blockysize": 128}
        if codec.startswith("CCITT"):
            pixels, profile["nbits"] = np.kron(rng.integers(0, 2, (64, 64, 1)), np.ones((8, 8, 1))).astype(np.uint8), 1
        return _written(folder / "scene.tif", pixels, driver="GTiff", **profile)
    if codec.startswith("JP2"):
        tiles = {"BLOCKXSIZE": 128, "BLOCKYSIZE": 128} if codec.endswith("tiles") else {}
        return _written(folder / "scene.jp2", pixels, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES", **tiles)
    if codec == "PNG":
        return _written(folder / "scene.png", pixels, driver="PNG")
    return _written(folder / "scene.jpg", pixels, driver="JPEG", PROGRESSIVE="ON" if "prog" in codec else "OFF")


def _written(path: Path, pixels: Any, **profile: Any) -> Path:
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", width=SIDE, height=SIDE, count=pixels.shape[2], dtype="uint8", **profile) as file:
            file.write(pixels.transpose(2, 0, 1))
    return path


def seen(path: Path, windows: Sequence[Window]) -> list[Any]:
    """Pixels of every window, or SceneError where it fails (everywhere, when the scene itself is refused); and what was
    remarked, at the end."""
    try:
        scene = open_scene(str(path), CONFIG)
        source = Pixels(scene, CONFIG)
    except SceneError as error:
        return [error] * len(windows)
    found: list[Any] = []
    for window in windows:
        try:
            found.append(source.read(window))
        except SceneError as error:
            found.append(error)
    source.close()
    return [*found, source.remarks]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("padded", [False, True], ids=["cut", "cut and filled up"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_file_that_was_cut_is_equal_or_failed_everywhere(
    codec: str, padded: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cut, or with zeros for what did not come, at several places; and nothing of GDAL's reaches a stream."""
    whole = write_in(tmp_path, codec)
    before, data = [seen(whole, [window])[0] for window in WINDOWS], whole.read_bytes()
    everything = seen(whole, [WHOLE])[0]
    failures = 0
    for share in (0.1, 0.3, 0.5, 0.6, 0.9, 0.97):
        length = int(len(data) * share)
        whole.write_bytes(data[:length] + bytes(len(data) - length if padded else 0))
        after = seen(whole, [*WINDOWS, WHOLE])
        remarks = after.pop() if len(after) > len(WINDOWS) + 1 else set()
        failed = [isinstance(now, SceneError) for now in after]
        failures += sum(failed)
        if padded and codec in BLIND:
            assert remarks or not codec.startswith("CCITT")
            continue
        differ = [
            not lost and not np.array_equal(now, then)
            for now, then, lost in zip(after, [*before, everything], failed, strict=True)
        ]
        assert not any(differ), (share, differ, failed)
        assert any(failed), share
    assert failures or padded
    assert capfd.readouterr() == ("", "")
