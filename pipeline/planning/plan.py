"""Scene → lattice, tiles and blocks: everything that is decided before a pixel reaches a detector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.config import RasterConfig, RefineConfig, RunConfig
from pipeline.errors import NoSuchBands, OutsideArea
from pipeline.georeference.georeference import Georeference
from pipeline.georeference.shift import DatumShift
from pipeline.names import public_uri
from pipeline.planning.area import AreaOfInterest, area_in_lattice, outside
from pipeline.planning.blocks import plan_blocks
from pipeline.planning.embedded import advice, band_warnings, embedded_cards
from pipeline.planning.emptiness import without_empty
from pipeline.planning.lattice import make_lattice
from pipeline.planning.places import place_warnings
from pipeline.planning.threshold import score_threshold
from pipeline.planning.tiles import (
    halo_warning,
    plan_tiles,
    resolve_halo_px,
    resolve_tile_px,
    touching,
)
from pipeline.raster.addresses import scene_id_of
from pipeline.raster.admission import check_pixels
from pipeline.raster.alpha import examined_alpha
from pipeline.raster.freshness import OLDER, with_sound_overviews
from pipeline.raster.overview import examined_stretch
from pipeline.raster.scene import open_scene
from pipeline.types import Block, Detections, Lattice, ModelCard, Scene, Stretch, Tile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScenePlan:
    """What the driver knows of one scene: where its pixels lie, and which of them are looked at, in which pieces."""

    scene: Scene
    georeference: Georeference | None
    """None for a pixel scene."""
    lattice: Lattice
    tile_px: int
    halo_px: int
    tiles: tuple[Tile, ...]
    """Tiles to look at, in plan order."""
    tiles_outside_aoi: int
    tiles_empty: int = 0
    """Skipped because they hold no valid pixel; known once the scene was screened."""
    blocks: tuple[Block, ...] = ()
    """The tiles in groups that are read in one go; none before :func:`grouped` or :func:`screen`."""
    area: BaseGeometry | None
    """Area of interest in lattice pixels; None for the whole scene."""
    shift: DatumShift | None = None
    """How the scene's CRS leads to longitude and latitude; None for a pixel scene."""
    warnings: tuple[str, ...] = ()
    """What a user should know before trusting the result, one sentence each, with the remedy: shown once per scene, in
    ``run.json`` and in the dry run. In no digest."""

    @property
    def tiles_skipped(self) -> int:
        """Tiles of the scene that are not looked at."""
        return self.tiles_empty + self.tiles_outside_aoi

    @property
    def mpx(self) -> float:
        """Scene pixels behind the tiles that are looked at, each counted once, in millions (ruling 13)."""
        return sum(tile.core.pixels for tile in self.tiles) * self.lattice.scale_x * self.lattice.scale_y / 1e6


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
    export_difference: bool = False
    flips: bool = False
    """Whether every chip is looked at mirrored too."""


def plan_scene(uri: str, config: RunConfig, card: ModelCard, aoi: AreaOfInterest | None) -> ScenePlan:
    """Plan one scene from its headers, as far as they go: its tiles, not yet in blocks.

    Raises SceneError when the scene cannot work, ConfigError when the settings do not fit it (halo, bands, AOI).
    """
    try:
        scene = with_meta(open_scene(uri, config.raster, model_bands=card.bands), meta_entries(config))
    except NoSuchBands as error:
        raise NoSuchBands(f"{error}; {advice(error.band_names, embedded_cards())}") from error
    scene = replace(scene, scene_id=scene_id_of(scene.uris, config.scene_id))
    georeference = Georeference.of(scene)
    native_gsd = georeference.ground_gsd() if georeference else None
    shift = georeference.datum_shift() if georeference else None
    lattice = make_lattice(scene, config.tiling.gsd, card.gsd_m, native_gsd)
    check_pixels(lattice.width, lattice.height, f"the lattice of {public_uri(uri)}", config.raster)
    tile_px = resolve_tile_px(config.tiling, card)
    halo_px = resolve_halo_px(config.tiling, lattice, card)
    halo = halo_warning(config.tiling, lattice, card)
    planned = plan_tiles(lattice, tile_px, halo_px)
    area = area_in_lattice(aoi, scene, georeference, lattice) if aoi is not None else None
    tiles = planned if area is None else touching(planned, area)
    if not tiles and aoi is not None and georeference is not None:
        raise OutsideArea(outside(aoi, scene, georeference))
    return ScenePlan(
        scene=scene,
        georeference=georeference,
        lattice=lattice,
        tile_px=tile_px,
        halo_px=halo_px,
        tiles=tiles,
        tiles_outside_aoi=len(planned) - len(tiles),
        area=area,
        shift=shift,
        warnings=(
            *scene.warnings,
            *band_warnings(scene, card),
            *place_warnings(georeference, shift),
            *(() if halo is None else (halo,)),
        ),
    )


def grouped(plan: ScenePlan, config: RunConfig) -> ScenePlan:
    """The plan with its tiles in blocks."""
    return replace(plan, blocks=plan_blocks(plan.tiles, plan.scene, plan.lattice, config.tiling.block_mpx))


def screen(plan: ScenePlan, config: RunConfig, card: ModelCard) -> tuple[ScenePlan, WorkOrder]:
    """Read the overview: take the stretch, drop tiles without a valid pixel, group the rest into blocks.

    A scene whose overviews are not of its pixels goes on without them. Raises SceneError when the scene is damaged in
    most places, StorageError when it is out of reach.
    """
    lattice, scene = plan.lattice, with_sound_overviews(plan.scene, config.raster)
    older = scene is not plan.scene
    empty: tuple[str, ...] = ()
    if config.tiling.skip_empty:
        kept, empty, wrong = without_empty(plan.tiles, plan.scene, lattice, config.raster)
        plan = replace(plan, tiles=kept, tiles_empty=len(plan.tiles) - len(kept))
        older, scene = older or wrong, replace(scene, overviews=()) if wrong else scene
    stretch, doubts = examined_stretch(scene, config.raster)
    doubts = (*((OLDER,) if older else ()), *doubts, *examined_alpha(scene, config.raster), *empty)
    plan = replace(plan, scene=scene, warnings=(*plan.warnings, *doubts))
    order = WorkOrder(
        scene=scene,
        lattice=lattice,
        stretch=stretch,
        raster=config.raster,
        score_threshold=score_threshold(card, config.detector),
        batch=config.detector.batch,
        global_factor=config.tiling.global_factor,
        refine=config.refine,
        export_attention=config.export.attention,
        export_difference=config.export.difference,
        flips=config.detector.flips,
    )
    return grouped(plan, config), order


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


def asked_for(detections: Detections, plan: ScenePlan) -> Detections:
    """Detections (frame LATTICE) whose centre lies on the scene, and in the area of interest where there is one."""
    lattice, scene = plan.lattice, plan.scene
    x, y = detections.boxes[:, 0], detections.boxes[:, 1]
    keep = (x >= 0) & (y >= 0) & (x * lattice.scale_x <= scene.width) & (y * lattice.scale_y <= scene.height)
    if plan.area is not None:
        keep &= shapely.intersects_xy(plan.area, x, y)
    return detections[keep]
