"""What ``--dry-run`` says: what a scene is, what looking at it will cost, and what will hurt. Headers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from pipeline.config import RunConfig
from pipeline.config.looking import one_look_factor
from pipeline.errors import redacted
from pipeline.planning.blocks import GOOD_AMPLIFICATION, decoded_pixels, delivered_pixels
from pipeline.planning.embedded import band_warnings, choices, embedded_cards
from pipeline.planning.places import NO_PLACE
from pipeline.planning.plan import ScenePlan
from pipeline.types import ModelCard, Scene

HUGE_MPX = 100.0
"""Above this, a scene without overviews makes the stretch and the preview slow."""
GIANT_UNIT_MB = 64.0
"""A decoding unit larger than GDAL's default cache here is decoded again for every window that touches it."""
FAR_SHRINK, FAR_MAGNIFY = 4.0, 0.5
"""Resampling factors beyond which detail is thrown away in bulk, or invented."""
OTHER_GSD = 1.25
"""A scene looked at with a GSD this many times off the model's shows objects of sizes it was not trained on."""
SMALL_UNIT_PX = 512
"""Smaller tiles in the file would hardly lower what is decoded."""
SEQUENTIAL_DRIVERS = ("PNG", "JPEG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast tiles are looked at, for the estimate of time."""

    seconds_per_tile: float
    """Of one worker."""
    workers: int = 1
    start_s: float = 0.0
    """Seconds until the first tile is looked at: processes, and the detector in them."""
    source: str = "stated"
    """Where the figure comes from, e.g. ``measured on one tile``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One scene and its plan in figures. The field names are the keys of a JSON report."""

    scene_id: str
    uris: tuple[str, ...]
    driver: str
    width: int
    """Scene pixels."""
    height: int
    dtype: str
    band_count: int
    bands: tuple[int, ...]
    """Bands that are read, counted from 1."""
    crs: str | None
    """Name of the CRS, with its code where it has one."""
    native_gsd_m: tuple[float, float] | None
    """Metres on the ground per column and per row at the scene's centre."""
    nodata: float | None
    """Of all bands that are read."""
    band_nodata: tuple[float | None, ...]
    """Of each band, where they differ; else empty."""
    has_mask: bool
    decoding_unit_px: tuple[int, int]
    """Width and height of the unit the file is decoded in."""
    tiled: bool
    overviews: tuple[int, ...]
    lattice_px: tuple[int, int]
    lattice_gsd_m: float | None
    resampling: tuple[float, float]
    """Scene pixels per lattice pixel along rows and columns; 1 is no resampling."""
    tile_px: int
    halo_px: int
    tiles: int
    tiles_outside_aoi: int
    looks: str
    """How a tile is looked at, in words."""
    same_cost: str | None
    """What else could be had for the pixels of both looks, and when; None where there is one look."""
    blocks: int
    decoded_px: int
    """Scene pixels decoded, of one band."""
    decoded_bytes: int
    """Of all bands that are read, uncompressed."""
    amplification: float
    """Scene pixels decoded per scene pixel delivered."""
    model: str
    model_gsd_m: float | None
    model_classes: tuple[str, ...]
    model_bands: tuple[str, ...]
    estimated_s: float
    """Seconds from the start to the last tile; reading runs beside it."""
    pace: Pace
    embedded: tuple[str, ...] = ()
    """Which embedded detectors suit the scene's bands, one sentence each, and which to choose."""
    warnings: tuple[str, ...] = ()
    """What will hurt, one sentence each, with the remedy."""


def inspect(plan: ScenePlan, card: ModelCard, config: RunConfig, pace: Pace) -> Inspection:
    """Figures and warnings for one scene, planned from its headers and in blocks. Opens nothing."""
    scene, georeference = plan.scene, plan.georeference
    decoded = decoded_pixels(plan.blocks, scene, plan.lattice)
    delivered = delivered_pixels(plan.tiles, scene, plan.lattice)
    facts: dict[str, Any] = {
        "native_gsd_m": georeference.ground_gsd() if georeference else None,
        "decoded_px": decoded,
        "amplification": decoded / delivered if delivered else 0.0,
    }
    return Inspection(
        scene_id=scene.scene_id,
        uris=tuple(map(redacted, scene.uris)),
        driver=scene.driver,
        width=scene.width,
        height=scene.height,
        dtype=scene.dtype,
        band_count=scene.band_count,
        bands=scene.bands,
        crs=georeference.crs_name if georeference else None,
        nodata=config.raster.nodata if config.raster.nodata is not None else scene.nodata,
        band_nodata=scene.band_nodata,
        has_mask=scene.has_mask,
        decoding_unit_px=(scene.block_width, scene.block_height),
        tiled=scene.tiled,
        overviews=scene.overviews,
        lattice_px=(plan.lattice.width, plan.lattice.height),
        lattice_gsd_m=plan.lattice.gsd_m,
        resampling=(plan.lattice.scale_x, plan.lattice.scale_y),
        tile_px=plan.tile_px,
        halo_px=plan.halo_px,
        tiles=len(plan.tiles),
        tiles_outside_aoi=plan.tiles_outside_aoi,
        blocks=len(plan.blocks),
        decoded_bytes=decoded * _files_bands(scene) * np.dtype(scene.dtype).itemsize,
        model=card.name,
        model_gsd_m=card.gsd_m,
        model_classes=card.classes,
        model_bands=card.bands,
        embedded=tuple(choices(scene.band_names, embedded_cards())),
        looks=_looks(config),
        same_cost=_same_cost(config),
        estimated_s=pace.start_s + len(plan.tiles) * pace.seconds_per_tile / pace.workers,
        pace=pace,
        warnings=tuple(
            dict.fromkeys((*_own_warnings(plan, card, config, pace, facts["amplification"]), *plan.warnings))
        ),
        **facts,
    )


def _own_warnings(
    plan: ScenePlan, card: ModelCard, config: RunConfig, pace: Pace, amplification: float
) -> Iterator[str]:
    yield from _file_warnings(plan.scene)
    yield from _pixel_warnings(plan.scene, card, config)
    yield from _ground_warnings(card, plan)
    yield from _plan_warnings(plan.scene, plan, pace, amplification)


def _files_bands(scene: Scene) -> int:
    """Bands that are read: one of one file may stand for three channels, and is read once."""
    return len(scene.uris) if len(scene.uris) > 1 else len(set(scene.bands))


def _file_warnings(scene: Scene) -> Iterator[str]:
    megapixels = scene.width * scene.height / 1e6
    unit_mb = scene.block_width * scene.block_height * len(scene.bands) * np.dtype(scene.dtype).itemsize / 1e6
    if megapixels > HUGE_MPX and not scene.overviews:
        yield (
            f"no overviews on {megapixels:,.0f} Mpx: the stretch, the mask and the preview need a slow decimated read; "
            "add some with gdaladdo"
        )
    if unit_mb > GIANT_UNIT_MB:
        yield (
            f"the file is decoded in units of {scene.block_width} x {scene.block_height} px ({unit_mb:,.0f} MB each): "
            "every window pays for whole units; rewrite it with gdal_translate -of COG"
        )
    if scene.driver in SEQUENTIAL_DRIVERS and megapixels > HUGE_MPX:
        yield f"{scene.driver} can only be read from the top; rewrite it with gdal_translate -of COG"


def _pixel_warnings(scene: Scene, card: ModelCard, config: RunConfig) -> Iterator[str]:
    yield from band_warnings(scene, card)
    if scene.dtype != "uint8" and config.raster.stretch == "none":
        yield f"{scene.dtype} pixels without a stretch are clipped to 0 to 255; use raster.stretch=percentile"


def _ground_warnings(card: ModelCard, plan: ScenePlan) -> Iterator[str]:
    lattice = plan.lattice
    factor = max(lattice.scale_x, lattice.scale_y)
    if lattice.gsd_m is None:
        yield NO_PLACE
        return
    if factor > FAR_SHRINK:
        yield f"{factor:.3g} scene pixels become one: detail is lost that a model of a finer GSD would use"
    if min(lattice.scale_x, lattice.scale_y) < FAR_MAGNIFY:
        yield (
            f"the scene is magnified {1 / min(lattice.scale_x, lattice.scale_y):.3g} times to reach "
            f"{lattice.gsd_m:.3g} m: objects have less detail than the model was trained on"
        )
    if card.gsd_m is None:
        yield "the model does not say its GSD: the scene is taken as it is"
    elif not 1 / OTHER_GSD <= lattice.gsd_m / card.gsd_m <= OTHER_GSD:
        yield (
            f"tiles have {lattice.gsd_m:.3g} m pixels but the model was trained at {card.gsd_m:.3g} m; "
            "use tiling.gsd=model"
        )
    longest_px = (card.longest_object_m or 0.0) / lattice.gsd_m
    neighbours = max(lattice.width, lattice.height) > plan.tile_px
    if neighbours and plan.halo_px < longest_px < plan.tile_px:  # what no tile can hold, the plan itself tells
        yield (
            f"the halo of {plan.halo_px} px is {plan.halo_px * lattice.gsd_m:.0f} m, but objects may be "
            f"{card.longest_object_m or 0.0:.0f} m long: some will be seen in parts only; raise tiling.halo_m"
        )


def _plan_warnings(scene: Scene, plan: ScenePlan, pace: Pace, amplification: float) -> Iterator[str]:
    lattice = plan.lattice
    if not plan.tiles:
        yield "there is nothing to look at: no tile touches the area of interest"
    if max(lattice.width, lattice.height) < plan.tile_px / 2:
        yield f"the scene is only {lattice.width} x {lattice.height} px of a tile of {plan.tile_px} px"
    if amplification > GOOD_AMPLIFICATION:
        remedy = "raise tiling.block_mpx"
        if max(scene.block_width, scene.block_height) > SMALL_UNIT_PX:
            remedy = "raise tiling.block_mpx, or rewrite it in tiles of 256 or 512 px with gdal_translate -of COG"
        if not scene.tiled:
            band_mpx = plan.tile_px * lattice.width * max(1.0, lattice.scale_x * lattice.scale_y) / 1e6
            remedy = f"raise tiling.block_mpx to {ceil(band_mpx)}, or rewrite it in tiles with gdal_translate -of COG"
        yield f"every pixel delivered costs {amplification:.2f} decoded; {remedy}"
    if len(plan.blocks) < pace.workers:
        yield f"{len(plan.blocks)} block(s) cannot keep {pace.workers} workers busy; lower tiling.block_mpx"


def _looks(config: RunConfig) -> str:
    factor, refine = config.tiling.global_factor, config.refine
    first = "every pixel as it is" if factor == 1 else f"{factor:g} times shrunk"
    if config.detector.flips:
        first += ", each chip four times: as it is and mirrored"
    if not config.looks_twice:
        return first
    closer = f"crops {factor / refine.crop_factor(factor):g} times closer"
    return f"{first}, then {closer}, up to {100 * refine.budget:g} % as many pixels again, chosen by {refine.selector}"


def _same_cost(config: RunConfig) -> str | None:
    """The measured advice (``pipeline/evaluation/README.md``): one larger look instead where objects fill the scene."""
    factor = config.tiling.global_factor
    if not config.looks_twice:
        return None
    larger = one_look_factor(factor, config.refine.budget)
    return (
        f"one look {larger:.3g} times shrunk (tiling.global_factor={larger:.3g}, refine.selector=none); it found "
        "more on small images full of objects, two looks on large scenes that are mostly empty"
    )
