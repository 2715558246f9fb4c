"""DOTA's text files, and the pictures they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.dota import pictures_of, read_dota
from pipeline.errors import ConfigError


def test_dota_files(tmp_path: Path) -> None:
    path = tmp_path / "P0001.txt"
    path.write_text(
        "imagesource:GoogleEarth\ngsd:0.15\n10 10 50 10 50 20 10 20 ship 0\n0.5 0 4.5 0 4.5 8 .5 8 plane 1\n\n"
    )
    truth = read_dota(path, ("plane", "ship"))
    assert truth.class_ids.tolist() == [1, 0]
    assert truth.ignore.tolist() == [False, True]
    np.testing.assert_allclose(truth.boxes[0], [30, 15, 40, 10, 0], atol=1e-9)
    np.testing.assert_allclose(truth.boxes[1, :4], [2.5, 4, 8, 4])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 2 3 4 5 6 7 ship", "line 1: expected 8 coordinates"),
        ("1 2 3 4 5 6 7 x ship 0", "not a number"),
        ("1 2 3 4 5 6 7 8 boat 0", "'boat' is not one of ship"),
    ],
)
def test_bad_dota_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(line)
    with pytest.raises(ConfigError, match=said):
        read_dota(path, ("ship",))


def test_only_pictures_are_taken_for_pictures(tmp_path: Path) -> None:
    """A world file, a note and another image beside them; a picture under two suffixes is one too many."""
    labels, images = tmp_path / "labelTxt", tmp_path / "images"
    for path in (labels / "P1.txt", images / "P1.PNG", images / "P1.pgw", images / "P1.txt", images / "P2.png"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert pictures_of(labels, images) == {labels / "P1.txt": images / "P1.PNG"}
    (images / "P1.jpg").touch()
    with pytest.raises(ConfigError, match=r"P1\.PNG and P1\.jpg in .* have one name"):
        pictures_of(labels, images)
    (labels / "P3.txt").touch()
    (images / "P1.jpg").unlink()
    with pytest.raises(ConfigError, match=r"1 annotated images are not in .*, first P3, with any of \.tif, .*--images"):
        pictures_of(labels, images)
