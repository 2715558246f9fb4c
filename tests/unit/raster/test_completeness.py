"""Files that are there as a whole pass whatever stands in them; others are refused before they are decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from pipeline.errors import SceneUnreadable
from pipeline.raster.scene import open_scene
from tests.support.reading import CONFIG
from tests.support.scenes import picture


def test_whole_pictures_pass_with_texts_thumbnails_and_what_follows_their_end(tmp_path: Path) -> None:
    image = Image.fromarray(picture(64, 80))
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("Comment", "å" * 5000, zip=True)
    image.save(tmp_path / "a.png", pnginfo=texts)
    image.save(tmp_path / "p.png", bits=4, optimize=True)
    for name, options in (("a", {}), ("b", {"progressive": True}), ("c", {"optimize": True, "comment": b"\xff\xd9"})):
        image.save(tmp_path / f"{name}.jpg", **options)
    for path in sorted(tmp_path.iterdir()):
        for tail in (b"", b"\0" * 3000, b"trailer"):
            path.write_bytes(path.read_bytes() + tail)
            assert open_scene(str(path), CONFIG).width == 80


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("padded", [False, True])
def test_a_picture_without_its_end_is_refused(name: str, padded: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(picture(64, 80)).save(path)
    data = path.read_bytes()
    for share in (0.5, 0.9, 0.99):
        length = int(len(data) * share)
        path.write_bytes(data[:length] + bytes(len(data) - length if padded else 0))
        with pytest.raises(SceneUnreadable, match="truncated or damaged"):
            open_scene(str(path), CONFIG)
