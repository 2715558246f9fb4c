"""The account of tiles: all that was found, in the order of the plan, whatever order it came in; no silent holes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pipeline.engine.ledger import account
from pipeline.errors import PipelineError
from pipeline.planning.tiles import plan_tiles
from pipeline.types import BlockOutcome, Detections, Done, Failed, Frame, Lattice, Tile

TILES = plan_tiles(Lattice(width=1200, height=900, scale_x=1.0, scale_y=1.0, gsd_m=None), 256, 32)


def found_on(tile: Tile, again: int = 0) -> Detections:
    """None to four boxes whose scores tell the tile, the box, and which look it was."""
    n = tile.index % 5
    scores = (tile.index + np.arange(n) / 10 + again / 100) / 100
    boxes = np.tile([tile.core.x, tile.core.y, 9.0, 4.0, 0.1], (n, 1))
    return Detections(boxes, scores, np.zeros(n, np.int64), Frame.LATTICE, tile_index=np.full(n, tile.index))


def outcomes_of(tiles: tuple[Tile, ...], size: int, again: int = 0) -> list[BlockOutcome]:
    """As they come from workers: pickled and restored."""
    made = [
        BlockOutcome(
            start, tuple(Done(tile.tile_id, found_on(tile, again)) for tile in tiles[start : start + size]), ()
        )
        for start in range(0, len(tiles), size)
    ]
    return [pickle.loads(pickle.dumps(one)) for one in made]


def test_detections_stand_in_the_order_of_the_plan_whatever_order_the_blocks_ended_in() -> None:
    plain = Detections.concat([found_on(tile) for tile in TILES], Frame.LATTICE)
    for seed in range(5):
        outcomes = outcomes_of(TILES, 1 + seed)
        shuffled = [outcomes[i] for i in np.random.default_rng(seed).permutation(len(outcomes))]
        made = account(TILES, iter(shuffled))
        assert made.detections.scores.tolist() == plain.scores.tolist()
        assert made.detections.boxes.tobytes() == plain.boxes.tobytes()
        assert made.detections.tile_index.tolist() == plain.tile_index.tolist()
        assert made.tiles_done == len(TILES)


def test_a_tile_done_twice_counts_once_and_one_that_was_done_did_not_fail() -> None:
    failed = BlockOutcome(99, (), (Failed(TILES[3].tile_id, "E", "why"), Failed(TILES[4].tile_id, "E", "why")))
    first = outcomes_of(TILES[:4] + TILES[5:], 7)
    again = outcomes_of(TILES[2:4], 1, again=5)
    made = account(TILES, [first[0], failed, *first[1:], *again])
    assert made.tiles_done == len(TILES) - 1
    assert [one.tile_id for one in made.failures] == [TILES[4].tile_id]
    expected = [found_on(tile, 5 if tile in TILES[2:4] else 0) for tile in TILES if tile is not TILES[4]]
    assert made.detections.scores.tolist() == Detections.concat(expected, Frame.LATTICE).scores.tolist()


@pytest.mark.parametrize("kind", ["done", "failed"])
def test_a_hole_or_a_stranger_ends_the_run(kind: str) -> None:
    outcomes = outcomes_of(TILES, 4)
    with pytest.raises(PipelineError, match="1 have no outcome"):
        account(TILES, outcomes_of(TILES[1:], 4))
    done, failed = (Done("x", Detections.empty(Frame.LATTICE)),), (Failed("x", "E", "why"),)
    stranger = BlockOutcome(5, done if kind == "done" else (), failed if kind == "failed" else ())
    with pytest.raises(PipelineError, match="1 outcomes belong to no planned tile"):
        account(TILES, [*outcomes, stranger])


def test_nothing_found_takes_no_room() -> None:
    """A tile without detections travels as a word, not as eight arrays."""
    empty = pickle.dumps(
        BlockOutcome(0, tuple(Done(f"r{i:08d}", Detections.empty(Frame.LATTICE)) for i in range(99)), ())
    )
    assert len(empty) < 99 * 60
    restored = pickle.loads(empty)
    assert len(restored.done) == 99
    assert restored.done[3].detections.frame is Frame.LATTICE
    assert len(account((), []).detections) == 0
