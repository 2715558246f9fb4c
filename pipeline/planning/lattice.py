"""The one resampled pixel grid of a scene (ruling 1)."""

from __future__ import annotations

from math import ceil

from pipeline.errors import ConfigError
from pipeline.types import Lattice, Scene

SAME_GSD = 1e-3
"""Resampling for less than 0.1 % is not worth a blurred pixel: 1000 px drift by one, no detector notices, and
UTM's own scale error (0.9996 on the central meridian, 1.0010 at the edge of a zone) is of this size."""

MOST_MAGNIFIED = 16.0
"""Beyond this a scene holds no detail at the wanted GSD, only work: a world map at 10 m is 30 million tiles."""

MOST_SHRUNK = 1e4
"""Pixels of a centimetre become a hundred metres: what shrinks more has a damaged transform, and would take seconds a
tile to be averaged."""


def make_lattice(
    scene: Scene, gsd: str, model_gsd_m: float | None, native_gsd_m: tuple[float, float] | None
) -> Lattice:
    """The one grid on which ``scene`` is tiled.

    ``gsd`` is ``model``, ``native`` or metres; ``native_gsd_m`` the ground size (x, y) of a scene pixel at the centre.
    Pixels become square on the ground, unless the scene stays native: because it was asked for, because a GSD is
    unknown, or because the wanted one is within SAME_GSD. The last column and row may hang over the scene's edge by
    less than one lattice pixel. Raises ConfigError when pixels would be magnified more than MOST_MAGNIFIED times,
    or shrunk more than MOST_SHRUNK times.
    """
    wanted = model_gsd_m if gsd == "model" else None if gsd == "native" else float(gsd)
    if native_gsd_m is None:
        return Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=None)
    native_x, native_y = native_gsd_m
    mean_native = (native_x * native_y) ** 0.5
    if wanted is None or max(abs(wanted / native_x - 1), abs(wanted / native_y - 1)) <= SAME_GSD:
        return Lattice(width=scene.width, height=scene.height, scale_x=1.0, scale_y=1.0, gsd_m=mean_native)
    scale_x, scale_y = wanted / native_x, wanted / native_y
    if min(scale_x, scale_y) < 1 / MOST_MAGNIFIED:
        raise ConfigError(
            f"{scene.uris[0]} has pixels of {native_x:.4g} x {native_y:.4g} m on the ground, too coarse for "
            f"{wanted:g} m: {1 / min(scale_x, scale_y):.0f} times magnified; use a finer scene or tiling.gsd=native"
        )
    if max(scale_x, scale_y) > MOST_SHRUNK:
        raise ConfigError(
            f"{scene.uris[0]} has pixels of {native_x:.4g} x {native_y:.4g} m on the ground, and "
            f"{max(scale_x, scale_y):.0f} of them would become one of {wanted:g} m: is its transform right? "
            "(tiling.gsd=native asks for its own)"
        )
    return Lattice(
        width=_cells(scene.width, scale_x), height=_cells(scene.height, scale_y),
        scale_x=scale_x, scale_y=scale_y, gsd_m=wanted,
    )  # fmt: skip


def _cells(size: int, scale: float) -> int:
    """Lattice pixels that cover ``size``; a sliver of a millionth is rounding, not a pixel."""
    return max(1, ceil(size / scale - 1e-6))
