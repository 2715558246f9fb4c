"""Names of scenes: safe as names of folders."""

from __future__ import annotations

import pytest

from pipeline.raster.addresses import scene_id_of


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (("/data/port of genoa (1).tif",), "port_of_genoa_1"),
        (("s3://bucket/a/b/scene.v2.tif",), "scene.v2"),
        (("https://host/x/scene.tif?token=secret/../..",), "scene"),
        (("/x/..hidden.tif",), "hidden"),
        (("/x/港.tif",), "scene"),
        (("/x/" + "a" * 300 + ".tif",), "a" * 120),
        (("B04.jp2", "B03.jp2", "B02.jp2"), "B04-B03-B02"),
        (("S2_B04_10m.jp2", "S2_B03_10m.jp2"), "S2_B04_10m-B03_10m"),
        (("a/same.tif", "b/same.tif"), "same"),
    ],
)
def test_scene_ids_are_safe_folder_names(uris: tuple[str, ...], expected: str) -> None:
    assert scene_id_of(uris) == expected
