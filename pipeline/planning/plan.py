"""Scene → lattice, tiles and blocks: everything that is decided before a pixel reaches a detector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.config import RasterConfig, RefineConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.georeference.georeference import Georeference
from pipeline.names import public_uri
from pipeline.planning.area import AreaOfInterest, area_in_lattice
from pipeline.planning.blocks import plan_blocks
from pipeline.planning.lattice import make_lattice
from pipeline.planning.tiles import plan_tiles, resolve_halo_px, resolve_tile_px, touching, with_valid_pixels
from pipeline.raster.admission import check_pixels
from pipeline.raster.overview import measure_stretch, read_coverage
from pipeline.raster.scene import open_scene
from pipeline.types import Block, Detections, Lattice, ModelCard, Scene, Stretch, Tile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedScene:
    """One scene, planned. Nothing but its headers has been read."""

    scene: Scene
    georeference: Georeference | None
    lattice: Lattice
    tile_px: int
    halo_px: int
    tiles: tuple[Tile, ...]
    """Tiles to look at, in plan order."""
    tiles_outside_aoi: int
    area: BaseGeometry | None
    """Area of interest in lattice pixels; None for the whole scene."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScreenedScene:
    """A prepared scene after the look at its overview: stretch known, empty tiles gone, blocks made."""

    prepared: PreparedScene
    plan: WorkOrder
    tiles: tuple[Tile, ...]
    tiles_empty: int
    blocks: tuple[Block, ...]


def prepare(uri: str, config: RunConfig, card: ModelCard, aoi: AreaOfInterest | None) -> PreparedScene:
    """Plan one scene from its headers.

    Raises SceneError when the scene cannot work, ConfigError when the settings do not fit it (halo, bands, AOI).
    """
    scene = with_meta(open_scene(uri, config.raster), meta_entries(config))
    georeference = Georeference.of(scene)
    native_gsd = georeference.ground_gsd() if georeference else None
    lattice = make_lattice(scene, config.tiling.gsd, card.gsd_m, native_gsd)
    check_pixels(lattice.width, lattice.height, f"the lattice of {public_uri(uri)}", config.raster)
    tile_px = resolve_tile_px(config.tiling, card)
    halo_px = resolve_halo_px(config.tiling, lattice, card)
    planned = plan_tiles(lattice, tile_px, halo_px)
    area = area_in_lattice(aoi, scene, georeference, lattice) if aoi is not None else None
    tiles = planned if area is None else touching(planned, area)
    if not tiles:
        raise ConfigError(f"the area of interest {config.aoi} does not touch the scene {uri}")
    return PreparedScene(
        scene=scene,
        georeference=georeference,
        lattice=lattice,
        tile_px=tile_px,
        halo_px=halo_px,
        tiles=tiles,
        tiles_outside_aoi=len(planned) - len(tiles),
        area=area,
    )


def screen(prepared: PreparedScene, config: RunConfig, card: ModelCard) -> ScreenedScene:
    """Read the overview: take the stretch, drop tiles without a valid pixel, group the rest into blocks."""
    scene, lattice = prepared.scene, prepared.lattice
    stretch: Stretch = measure_stretch(scene, config.raster)
    tiles, skipped = prepared.tiles, 0
    if config.tiling.skip_empty:
        tiles, empty = with_valid_pixels(tiles, read_coverage(scene, lattice, config.raster), lattice)
        skipped = len(empty)
    threshold = config.detector.score_threshold
    plan = WorkOrder(
        scene=scene,
        lattice=lattice,
        stretch=stretch,
        raster=config.raster,
        score_threshold=card.score_threshold if threshold is None else threshold,
        batch=config.detector.batch,
        global_factor=config.tiling.global_factor,
        refine=config.refine,
        export_attention=config.export.attention,
    )
    blocks = plan_blocks(tiles, scene, lattice, config.tiling.block_mpx)
    return ScreenedScene(prepared=prepared, plan=plan, tiles=tiles, tiles_empty=skipped, blocks=blocks)


def meta_entries(config: RunConfig) -> dict[str, str]:
    """``output.meta`` as a dictionary."""
    return dict(entry.split("=", 1) for entry in config.output.meta)


def with_meta(scene: Scene, meta: dict[str, str]) -> Scene:
    """What the user says about the scene wins over the file's tags."""
    return replace(
        scene,
        acquired=meta.get("acquired", scene.acquired),
        sensor=meta.get("sensor", scene.sensor),
        attribution=meta.get("attribution", scene.attribution),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """All that a worker has to know of a scene; pickles to a few kilobytes."""

    scene: Scene
    lattice: Lattice
    stretch: Stretch
    raster: RasterConfig
    score_threshold: float
    batch: int
    global_factor: float = 1.0
    refine: RefineConfig = field(default_factory=RefineConfig)
    export_attention: bool = False


def inside(detections: Detections, prepared: PreparedScene) -> Detections:
    """Detections whose centre lies in the area of interest, and on the scene itself."""
    lattice, scene = prepared.lattice, prepared.scene
    x, y = detections.boxes[:, 0], detections.boxes[:, 1]
    keep = (x >= 0) & (y >= 0) & (x * lattice.scale_x <= scene.width) & (y * lattice.scale_y <= scene.height)
    if prepared.area is not None:
        keep &= shapely.intersects_xy(prepared.area, x, y)
    return detections[keep]
