"""The open files of a scene: what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from pipeline.errors import SceneUnreadable
from pipeline.raster.overview import measure_stretch
from pipeline.raster.reader import SceneReader
from pipeline.raster.scene import open_scene
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
