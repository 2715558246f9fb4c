"""A block that goes wrong: tried again, then narrowed down to the tile that causes it. One rule for every executor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.errors import PipelineError, one_sentence
from pipeline.types import Block, BlockOutcome, Failed, Tile

HALF_LIMIT, TILE_LIMIT = 1, 2
"""Attempts at what a block was halved into: it has gone wrong often enough, but a tile alone gets a second chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A block, and how often it may be tried."""

    block: Block
    limit: int
    """Attempts that may go wrong before the block is halved, or its only tile given up."""
    attempts: int = 0
    """Those that went wrong."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The block as it is, once more."""

    tried: Tried


@dataclass(frozen=True, slots=True)
class Halves:
    """Its halves in its place; every tile of it is in one of them."""

    first: Tried
    second: Tried


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Its only tile has failed."""

    tried: Tried


def next_step(tried: Tried, error: BaseException) -> Retry | Halves | GiveUp:
    """What becomes of a block that was tried once more and ended in ``error``.

    Errors that are not ours (a worker's death, a library's) may pass, and so may those of ours that say so
    (``retryable``): the block is tried again until its limit. Any other error of ours would come again, and counts as
    all attempts that were left. Then a block of several tiles is halved; the tile that is to blame ends alone.
    """
    hopeless = isinstance(error, PipelineError) and not error.retryable
    attempts = max(tried.attempts + 1, tried.limit if hopeless else 0)
    tried = replace(tried, attempts=attempts)
    if attempts < tried.limit:
        return Retry(tried)
    if len(tried.block.tiles) == 1:
        return GiveUp(tried)
    first, second = (
        Tried(block=half, limit=TILE_LIMIT if len(half.tiles) == 1 else HALF_LIMIT) for half in bisect(tried.block)
    )
    return Halves(first, second)


def bisect(block: Block) -> tuple[Block, Block]:
    """Two halves of a block of at least two tiles, each with the smallest window that holds its tiles."""
    middle = len(block.tiles) // 2
    return _subblock(block, block.tiles[:middle]), _subblock(block, block.tiles[middle:])


def _subblock(block: Block, tiles: tuple[Tile, ...]) -> Block:
    window = tiles[0].window
    for tile in tiles[1:]:
        window = window.union(tile.window)
    return Block(block_id=block.block_id, window=window, tiles=tiles)


def failed_block(tried: Tried, error: BaseException) -> BlockOutcome:
    """Every tile of the block failed for the same reason."""
    name, reason = type(error).__name__, one_sentence(error)
    failed = tuple(Failed(tile.tile_id, name, reason, tried.attempts) for tile in tried.block.tiles)
    return BlockOutcome(tried.block.block_id, (), failed)
