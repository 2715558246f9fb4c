"""Merged detections → the files of one scene, in a staging folder; the caller publishes the folder in one move."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pipeline.geometry.frames import lattice_to_scene
from pipeline.geometry.obb import aabb_to_obb, corners_to_obb, obb_to_corners
from pipeline.outputs.failures import failures_table, write_failures
from pipeline.outputs.formats import FORMATS
from pipeline.outputs.result import Result
from pipeline.outputs.tables import TableIdentity, detections_table
from pipeline.pictures.crops import CropsShown
from pipeline.pictures.ground import with_area
from pipeline.pictures.preview import BoxesShown, draw_preview
from pipeline.planning.plan import ScenePlan, WorkOrder
from pipeline.planning.threshold import calibration_of
from pipeline.runs.identity import Identity
from pipeline.types import (
    ByteArray,
    Crop,
    Detections,
    Failed,
    FloatArray,
    GroundMeasures,
    Lattice,
    ModelCard,
    Tile,
    Window,
)

PIECE_ROWS = 100_000
"""Detections whose corners and measures are worked out together."""


def build_table(detections: Detections, plan: ScenePlan, order: WorkOrder, card: ModelCard, identity: Identity) -> Any:
    """The Arrow table of one scene: world corners, ground measures, full-resolution pixel boxes.

    Worked out ``PIECE_ROWS`` at a time: what lies between a box and its columns is ten times as large as they are.
    """
    count = len(detections)
    georeference = plan.georeference
    corners_world, px_boxes, measured = np.empty((count, 4, 2)), np.empty((count, 5)), np.empty((4, count))
    for start in range(0, count, PIECE_ROWS):
        rows = slice(start, start + PIECE_ROWS)
        corners = lattice_to_scene(obb_to_corners(detections.boxes[rows]), plan.lattice)
        px_boxes[rows] = corners_to_obb(corners)
        corners_world[rows] = corners if georeference is None else georeference.scene_to_world(corners)
        if georeference is not None:
            ground = georeference.measure(corners)
            measured[:, rows] = ground.length_m, ground.width_m, ground.area_m2, ground.azimuth_deg
    return detections_table(
        corners_world=corners_world,
        px_boxes=px_boxes,
        measures=None if georeference is None else GroundMeasures(*measured),
        detections=detections,
        tile_ids=tile_names(plan.tiles),
        identity=TableIdentity(
            scene_id=identity.scene_id,
            model_id=identity.model_id,
            run_id=identity.run_id,
            classes=card.classes,
            acquired=plan.scene.acquired,
        ),
        calibration=calibration_of(card, flips=order.flips),
    )


def tile_names(tiles: Sequence[Tile]) -> list[str]:
    """Tile ids by ``Tile.index``; indices that were not planned stay empty."""
    names = [""] * (max((tile.index for tile in tiles), default=-1) + 1)
    for tile in tiles:
        names[tile.index] = tile.tile_id
    return names


def write_detections(
    table: Any, folder: Path, plan: ScenePlan, metadata: Mapping[str, str], classes: Sequence[str]
) -> None:
    """The detections in every format of :data:`~pipeline.outputs.formats.FORMATS`."""
    result = Result(
        table=table, georeference=plan.georeference, metadata=metadata, scene_id=plan.scene.scene_id, classes=classes
    )
    for write in FORMATS.values():
        write(result, folder)


def write_failed_tiles(failures: Sequence[Failed], folder: Path, plan: ScenePlan) -> None:
    """failures.parquet: every hole with its reason and its place in scene pixels; zero rows when there is none."""
    lattice = plan.lattice
    failed = {failure.tile_id for failure in failures}
    bounds = {
        tile.tile_id: (
            int(tile.core.x * lattice.scale_x),
            int(tile.core.y * lattice.scale_y),
            int(np.ceil(tile.core.x1 * lattice.scale_x)),
            int(np.ceil(tile.core.y1 * lattice.scale_y)),
        )
        for tile in plan.tiles
        if tile.tile_id in failed
    }
    write_failures(
        failures_table(failures, scene_id=plan.scene.scene_id, bounds_px=bounds), folder / "failures.parquet"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """The part of a scene that its preview shows."""

    window: Window
    """Scene pixels."""
    pixels: ByteArray
    """(h, w, 3)"""

    def to_picture(self, scene_px: FloatArray) -> FloatArray:
        """(..., 2) scene pixels → pixels of the picture."""
        height, width = self.pixels.shape[:2]
        shrink = np.array([width / self.window.width, height / self.window.height])
        placed: FloatArray = (scene_px - (self.window.x, self.window.y)) * shrink
        return placed


def preview_window(plan: ScenePlan) -> Window:
    """The whole scene; or, where the area of interest is a small part of it, that part and a margin. Scene pixels."""
    scene, lattice = plan.scene, plan.lattice
    whole = Window(x=0, y=0, width=scene.width, height=scene.height)
    if plan.area is None or plan.area.is_empty:
        return whole
    corners = lattice_to_scene(np.reshape(plan.area.bounds, (2, 2)).astype(np.float64), lattice)
    margin = max(SMALLEST_MARGIN_PX, AREA_MARGIN * float((corners[1] - corners[0]).max()))
    low = np.clip(np.floor(corners[0] - margin), 0, (scene.width - 1, scene.height - 1)).astype(int)
    high = np.clip(np.ceil(corners[1] + margin), low + 1, (scene.width, scene.height)).astype(int)
    (x, y), (width, height) = low.tolist(), (high - low).tolist()
    part = Window(x=x, y=y, width=width, height=height)
    return part if part.pixels < SMALL_AREA * whole.pixels and part.pixels < MOST_PX else whole


SMALL_AREA, AREA_MARGIN, SMALLEST_MARGIN_PX = 0.25, 0.08, 16.0
"""An area of interest is small below this share of the scene; the margin around it is a share of its longer side."""
MOST_PX = 250_000_000
"""Of a window that is decoded for a preview."""


def write_preview(
    detections: Detections, crops: Sequence[Crop], shown: Shown, plan: ScenePlan, order: WorkOrder, path: Path
) -> None:
    """preview.png: the scene, the area of interest, every detection, and the crops of the second look."""
    scene, lattice = plan.scene, plan.lattice
    width = shown.pixels.shape[1]
    metres = None if lattice.gsd_m is None else lattice.gsd_m / lattice.scale_x * shown.window.width / width
    part = "" if shown.window.pixels == scene.width * scene.height else ", around the area of interest"
    corners = lattice_to_scene(obb_to_corners(detections.boxes), lattice)
    draw_preview(
        shown.pixels if plan.area is None else with_area(shown.pixels, _area_shown(plan, shown)),
        BoxesShown(shown.to_picture(corners), detections.scores),
        title=scene.scene_id + part,
        metres_per_px=metres,
        path=path,
        score_threshold=order.score_threshold,
        crops=_crops_shown(crops, lattice, shown) if crops else None,
    )


def _area_shown(plan: ScenePlan, shown: Shown) -> list[list[FloatArray]]:
    """The polygons of the area of interest in pixels of the picture, outer rings first; a million corners as few."""
    if plan.area is None:
        return []
    area = shapely.simplify(
        shapely.transform(plan.area, lambda points: shown.to_picture(lattice_to_scene(points, plan.lattice))), 0.5
    )
    polygons = [
        part
        for part in shapely.get_parts(shapely.get_parts([area]))
        if part.geom_type == "Polygon" and not part.is_empty
    ]
    return [[shapely.get_coordinates(ring) for ring in (one.exterior, *one.interiors)] for one in polygons]


def _crops_shown(crops: Sequence[Crop], lattice: Lattice, shown: Shown) -> CropsShown:
    bounds = np.array([[crop.window.x, crop.window.y, crop.window.x1, crop.window.y1] for crop in crops], np.float64)
    corners = obb_to_corners(aabb_to_obb(bounds))
    return CropsShown(shown.to_picture(lattice_to_scene(corners, lattice)), np.array([crop.entropy for crop in crops]))


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Indented JSON with a final newline; key order as given."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
