"""Which tiles of a scene are not looked at because they hold no valid pixel, and what a user should know of it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config import RasterConfig
from pipeline.planning.tiles import with_valid_pixels
from pipeline.raster.freshness import hold_valid_pixels
from pipeline.raster.overview import read_coverage
from pipeline.types import Lattice, Scene, Tile


def without_empty(
    tiles: Sequence[Tile], scene: Scene, lattice: Lattice, config: RasterConfig
) -> tuple[tuple[Tile, ...], tuple[str, ...], bool]:
    """The tiles that hold a valid pixel, in order; what is to be known of the others; whether an overview was wrong.

    What an overview calls empty is confirmed against the file's own blocks. Raises SceneError or StorageError.
    """
    kept, empty = with_valid_pixels(tiles, read_coverage(scene, lattice, config), lattice)
    warnings: tuple[str, ...] = ()
    older = False
    if empty and scene.overviews:
        wrong = hold_valid_pixels(empty, scene, lattice, config)
        if wrong.any():
            gone = {tile.index for tile, holds in zip(empty, wrong, strict=True) if not holds}
            kept = tuple(tile for tile in tiles if tile.index not in gone)
            older = True
            warnings = (f"{int(wrong.sum())} tiles that an overview calls empty hold pixels, and are looked at",)
    return kept, warnings if kept else (*warnings, nothing_valid(scene, len(tiles))), older


def nothing_valid(scene: Scene, tiles: int) -> str:
    """The sentence on a scene of which no tile is left."""
    reasons = {
        "its mask, alpha band or transparent colours (--raster.mask none ignores them)": scene.has_mask,
        "the nodata value (--raster.nodata gives another, e.g. nan for none)": bool(scene.band_nodata)
        or scene.nodata is not None,
    }
    said = " or by ".join(reason for reason, holds in reasons.items() if holds) or "NaN"
    return (
        f"not one valid pixel in any of {tiles} tiles: nothing was looked at, and that nothing was found says nothing; "
        f"all pixels are holes by {said}; if the scene does show something, correct that"
    )
