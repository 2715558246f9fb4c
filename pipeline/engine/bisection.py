"""A block that goes wrong, narrowed down to the tile that causes it."""

from __future__ import annotations

from pipeline.errors import one_sentence
from pipeline.types import Block, BlockOutcome, Failed, Tile


def bisect(block: Block) -> tuple[Block, Block]:
    """Two halves of a block of at least two tiles, each with the smallest window that holds its tiles."""
    middle = len(block.tiles) // 2
    return _subblock(block, block.tiles[:middle]), _subblock(block, block.tiles[middle:])


def _subblock(block: Block, tiles: tuple[Tile, ...]) -> Block:
    window = tiles[0].window
    for tile in tiles[1:]:
        window = window.union(tile.window)
    return Block(block_id=block.block_id, window=window, tiles=tiles)


def failed_block(block: Block, error: BaseException, attempts: int = 1) -> BlockOutcome:
    """Every tile of ``block`` failed for the same reason."""
    failed = tuple(Failed(tile.tile_id, type(error).__name__, one_sentence(error), attempts) for tile in block.tiles)
    return BlockOutcome(block.block_id, (), failed)
