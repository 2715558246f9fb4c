"""Windows of a tile that may be looked at again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.second_look.windows import candidate_windows
from pipeline.types import Window


@given(
    width=st.integers(64, 700),
    height=st.integers(64, 700),
    scales=st.lists(st.sampled_from((0.2, 0.25, 0.4, 0.5, 0.75, 1.0)), min_size=1, max_size=3, unique=True),
)
def test_windows_cover_the_tile_and_stay_inside(width: int, height: int, scales: list[float]) -> None:
    """Of every scale: inside the tile, no gaps, neighbours overlapping by about half."""
    tile = Window(x=17, y=900, width=width, height=height)
    for scale in scales:
        boxes = candidate_windows(tile, (scale,))
        if min(width, height) * scale < 32 - 1e-6:
            assert len(boxes) == 0
            continue
        assert boxes[:, :2].min(axis=0).tolist() == [tile.x, tile.y]
        assert boxes[:, 2:].max(axis=0).tolist() == [tile.x1, tile.y1]
        covered = np.zeros((height, width), np.bool_)
        for x, y, x1, y1 in boxes - [tile.x, tile.y, tile.x, tile.y]:
            covered[y:y1, x:x1] = True
        assert covered.all()
        assert len({tuple(box) for box in boxes}) == len(boxes)
