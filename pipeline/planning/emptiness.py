"""Which tiles of a scene are not looked at because they hold no valid pixel, and what a user should know of it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config import RasterConfig
from pipeline.pixels.validity import may_be_invalid
from pipeline.planning.tiles import with_valid_pixels
from pipeline.raster.freshness import hold_valid_pixels
from pipeline.raster.limits import LIMITS, Limits
from pipeline.raster.overview import decimated, read_coverage
from pipeline.types import Lattice, Scene, Tile


def without_empty(
    tiles: Sequence[Tile], scene: Scene, lattice: Lattice, config: RasterConfig, limits: Limits = LIMITS
) -> tuple[tuple[Tile, ...], tuple[str, ...], bool]:
    """The tiles that hold a valid pixel, in order; what is to be known of the others; whether an overview was wrong.

    What an overview calls empty is confirmed against the file's own blocks. A scene that is too large to be looked at
    as a whole keeps all its tiles. Raises SceneError or StorageError.
    """
    if not scene.overviews and limits.exceeded_by(scene):
        return tuple(tiles), _in_a_few_places(scene, config, limits), False
    kept, empty = with_valid_pixels(tiles, read_coverage(scene, lattice, config, limits=limits), lattice)
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


def _in_a_few_places(scene: Scene, config: RasterConfig, limits: Limits) -> tuple[str, ...]:
    """A sentence where none of a few places of a large scene shows anything."""
    if not may_be_invalid(scene, masked=scene.has_mask):
        return ()
    _, valid, places = decimated(scene, config, limits=limits)
    if valid.any():
        return ()
    said = (
        f"not one valid pixel in any of {places}, spread over the scene: it is too large to be looked at as a whole "
        f"without overviews, so every tile is; all pixels seen are holes by {_reasons(scene)}; if the scene does show "
        "something there, correct that"
    )
    return (said,)


def nothing_valid(scene: Scene, tiles: int) -> str:
    """The sentence on a scene of which no tile is left."""
    return (
        f"not one valid pixel in any of {tiles} tiles: nothing was looked at, and that nothing was found says nothing; "
        f"all pixels are holes by {_reasons(scene)}; if the scene does show something, correct that"
    )


def _reasons(scene: Scene) -> str:
    """What may call all pixels of a scene holes, and the remedies."""
    reasons = {
        "its mask, alpha band or transparent colours (--raster.mask none ignores them), or raster.mask_file": (
            scene.has_mask
        ),
        "the nodata value (--raster.nodata gives another, e.g. nan for none)": bool(scene.band_nodata)
        or scene.nodata is not None,
    }
    return " or by ".join(reason for reason, holds in reasons.items() if holds) or "NaN"
