"""Under which names a part may lie: one with more maps than are needed serves, one with fewer does not."""

from __future__ import annotations

import pytest

from pipeline.engine.parts_folder import WorkFolder
from pipeline.types import Block, Tile, Window

WINDOW = Window(x=0, y=0, width=64, height=64)
BLOCK = Block(block_id=0, window=WINDOW, tiles=(Tile(tile_id="t", index=0, core=WINDOW, window=WINDOW),))


@pytest.mark.parametrize(
    ("attention", "difference", "endings"),
    [
        (False, False, ["", ".attention", ".difference", ".attention.difference"]),
        (True, False, [".attention", ".attention.difference"]),
        (False, True, [".difference", ".attention.difference"]),
        (True, True, [".attention.difference"]),
    ],
)
def test_names_of_parts_that_hold_enough(attention: bool, difference: bool, endings: list[str]) -> None:
    """The one to write comes first; with neither map and with attention alone as before there were difference maps."""
    work = WorkFolder(folder="out", recipe_sha256="r", attention=attention, difference=difference)
    names = work.names(BLOCK)
    stem = names[0].split(".")[0]
    assert len(stem) == 32
    assert names == tuple(f"{stem}{ending}.parquet" for ending in endings)
