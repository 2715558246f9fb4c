"""What becomes of a block that goes wrong: every branch of the one rule, and where it leads in the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.bisection import GiveUp, Halves, Retry, Tried, bisect, failed_block, next_step
from pipeline.errors import ClusterError, DeadlineExceeded, ModelError, SceneUnreadable, StorageError
from pipeline.types import Block, Tile, Window

PASSING = (StorageError("out of reach"), DeadlineExceeded("no sign of life"), OSError("died"), MemoryError())
HOPELESS = (SceneUnreadable("damaged"), ModelError("NaN"), ClusterError("no progress"))


def block_of(tiles: int) -> Block:
    """Tiles side by side, their windows overlapping."""
    made = tuple(
        Tile(
            tile_id=f"t{index}", index=index, core=Window(x=100 * index, y=0, width=100, height=90),
            window=Window(x=100 * index, y=0, width=130, height=90),
        )
        for index in range(tiles)
    )  # fmt: skip
    return Block(block_id=7, window=Window(x=0, y=0, width=100 * tiles + 30, height=90), tiles=made)


@pytest.mark.parametrize("tiles", [1, 4])
@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_may_pass_is_tried_again_until_the_limit(tiles: int, error: Exception) -> None:
    tried = Tried(block=block_of(tiles), limit=3)
    for attempts in (1, 2):
        step = next_step(tried, error)
        assert step == Retry(Tried(block=tried.block, limit=3, attempts=attempts))
        tried = step.tried
    assert isinstance(next_step(tried, error), GiveUp if tiles == 1 else Halves)


@pytest.mark.parametrize("error", HOPELESS, ids=lambda error: type(error).__name__)
def test_what_would_come_again_halves_at_once(error: Exception) -> None:
    step = next_step(Tried(block=block_of(5), limit=3), error)
    assert isinstance(step, Halves)


@pytest.mark.parametrize("error", HOPELESS, ids=lambda error: type(error).__name__)
def test_a_tile_alone_that_cannot_work_is_given_up_and_counts_as_all_attempts(error: Exception) -> None:
    alone = Tried(block=block_of(1), limit=3)
    assert next_step(alone, error) == GiveUp(Tried(block=alone.block, limit=3, attempts=3))
    late = Tried(block=alone.block, limit=3, attempts=2)
    assert next_step(late, error) == GiveUp(Tried(block=alone.block, limit=3, attempts=3))


def test_a_tile_alone_that_used_up_its_attempts_is_given_up() -> None:
    alone = Tried(block=block_of(1), limit=2, attempts=1)
    assert next_step(alone, OSError("died again")) == GiveUp(Tried(block=alone.block, limit=2, attempts=2))


@pytest.mark.parametrize(("tiles", "limits"), [(2, (2, 2)), (3, (2, 1)), (4, (1, 1)), (5, (1, 1))])
def test_halves_have_one_attempt_and_a_tile_alone_has_two(tiles: int, limits: tuple[int, int]) -> None:
    step = next_step(Tried(block=block_of(tiles), limit=1), OSError("died"))
    assert isinstance(step, Halves)
    assert (step.first.limit, step.second.limit) == limits
    assert step.first.attempts == step.second.attempts == 0
    assert (step.first.block, step.second.block) == bisect(block_of(tiles))


@given(st.integers(2, 40))
def test_the_halves_hold_every_tile_once_in_the_smallest_windows(tiles: int) -> None:
    block = block_of(tiles)
    first, second = bisect(block)
    assert (*first.tiles, *second.tiles) == block.tiles
    assert abs(len(first.tiles) - len(second.tiles)) <= 1
    for half in (first, second):
        assert half.block_id == block.block_id
        assert half.window == Window(x=half.tiles[0].window.x, y=0, width=100 * len(half.tiles) + 30, height=90)


@given(tiles=st.integers(1, 30), bad=st.sets(st.integers(0, 29)), limit=st.integers(1, 4), hopeless=st.booleans())
def test_only_the_tiles_to_blame_are_given_up(tiles: int, bad: set[int], limit: int, hopeless: bool) -> None:
    """Worked off as an executor does, every tile ends once: done, or alone and given up."""
    error: Exception = ModelError("NaN") if hopeless else OSError("died")
    done: list[int] = []
    given_up: list[int] = []
    todo = [Tried(block=block_of(tiles), limit=limit)]
    while todo:
        tried = todo.pop()
        indices = [tile.index for tile in tried.block.tiles]
        if not bad & set(indices):
            done += indices
            continue
        step = next_step(tried, error)
        if isinstance(step, Retry):
            todo.append(step.tried)
        elif isinstance(step, Halves):
            todo += [step.first, step.second]
        else:
            assert step.tried.attempts == step.tried.limit
            given_up += indices
    assert sorted(given_up) == sorted(bad & set(range(tiles)))
    assert sorted(done) == sorted(set(range(tiles)) - bad)


def test_a_block_that_is_given_up_says_why_in_a_sentence() -> None:
    tried = Tried(block=block_of(2), limit=2, attempts=2)
    outcome = failed_block(tried, SceneUnreadable("it is damaged\nand more"))
    assert (outcome.block_id, outcome.done) == (7, ())
    told = [(one.tile_id, one.error, one.reason, one.attempts) for one in outcome.failed]
    assert told == [(f"t{index}", "SceneUnreadable", "it is damaged", 2) for index in range(2)]
