"""Which blocks of its file a window costs: counted block by block, for any window and any blocks."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.pixels.decoding import decode_window, decoded_spans
from pipeline.types import Scene, Window


def scene(width: int, height: int, block_width: int, block_height: int) -> Scene:
    return Scene(
        scene_id="a", uris=("a.tif",), width=width, height=height, bands=(1, 2, 3), band_count=3, dtype="uint8",
        driver="GTiff", crs_wkt=None, transform=None, gcps=(), nodata=None, has_mask=False, block_width=block_width,
        block_height=block_height, overviews=(),
    )  # fmt: skip


@pytest.mark.parametrize("unit", [1, 7, 64, 100])
def test_spans_are_the_blocks_that_are_touched(unit: int) -> None:
    size = 100
    spans = np.array([(start, end) for start in range(size) for end in range(start + 1, size + 1)])
    decoded = np.stack(decoded_spans(spans[:, 0], spans[:, 1], unit, size), axis=1)
    for (start, end), (decoded_start, decoded_end) in list(zip(spans, decoded, strict=True))[::13]:
        touched = [at for at in range(size) if start // unit <= at // unit <= (end - 1) // unit]
        assert (decoded_start, decoded_end) == (touched[0], touched[-1] + 1)


def test_a_window_grows_to_whole_blocks_and_ends_with_the_scene() -> None:
    tiled = scene(210, 150, 64, 32)
    assert decode_window(tiled, Window(x=70, y=40, width=10, height=100)) == Window(x=64, y=32, width=64, height=118)
    assert decode_window(tiled, Window(x=200, y=140, width=10, height=10)) == Window(x=192, y=128, width=18, height=22)


def test_a_window_of_whole_blocks_costs_itself() -> None:
    window = Window(x=64, y=32, width=128, height=64)
    assert decode_window(scene(210, 150, 64, 32), window) == window
