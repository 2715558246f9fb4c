"""Merged detections → the files of one scene, in a staging folder; the caller publishes the folder in one move."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.geometry.frames import lattice_to_scene
from pipeline.geometry.obb import aabb_to_obb, corners_to_obb, obb_to_corners
from pipeline.outputs.failures import failures_table, write_failures
from pipeline.outputs.formats import FORMATS
from pipeline.outputs.result import Result
from pipeline.outputs.tables import TableIdentity, detections_table
from pipeline.pictures.crops import CropsShown
from pipeline.pictures.preview import BoxesShown, draw_preview
from pipeline.planning.plan import ScenePlan, WorkOrder
from pipeline.runs.identity import Identity
from pipeline.types import ByteArray, Crop, Detections, Failed, FloatArray, GroundMeasures, Lattice, ModelCard, Tile

PIECE_ROWS = 100_000
"""Detections whose corners and measures are worked out together."""


def build_table(detections: Detections, plan: ScenePlan, card: ModelCard, identity: Identity) -> Any:
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
            scene_id=identity.scene_id, model_id=identity.model_id, run_id=identity.run_id, classes=card.classes
        ),
    )


def tile_names(tiles: Sequence[Tile]) -> list[str]:
    """Tile ids by ``Tile.index``; indices that were not planned stay empty."""
    names = [""] * (max((tile.index for tile in tiles), default=-1) + 1)
    for tile in tiles:
        names[tile.index] = tile.tile_id
    return names


def write_detections(table: Any, folder: Path, plan: ScenePlan, metadata: Mapping[str, str]) -> None:
    """The detections in every format of :data:`~pipeline.outputs.formats.FORMATS`."""
    result = Result(table=table, georeference=plan.georeference, metadata=metadata)
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


def write_preview(
    detections: Detections, crops: Sequence[Crop], thumbnail: ByteArray, plan: ScenePlan, order: WorkOrder, path: Path
) -> None:
    """preview.png: the thumbnail with every detection drawn on it, and the crops of the second look."""
    scene, lattice = plan.scene, plan.lattice
    height, width = thumbnail.shape[:2]
    shrink = np.array([width / scene.width, height / scene.height])
    metres = None if lattice.gsd_m is None else lattice.gsd_m / lattice.scale_x * scene.width / width
    draw_preview(
        thumbnail,
        BoxesShown(lattice_to_scene(obb_to_corners(detections.boxes), lattice) * shrink, detections.scores),
        title=scene.scene_id,
        metres_per_px=metres,
        path=path,
        score_threshold=order.score_threshold,
        crops=_crops_shown(crops, lattice, shrink) if crops else None,
    )


def _crops_shown(crops: Sequence[Crop], lattice: Lattice, shrink: FloatArray) -> CropsShown:
    bounds = np.array([[crop.window.x, crop.window.y, crop.window.x1, crop.window.y1] for crop in crops], np.float64)
    corners = obb_to_corners(aabb_to_obb(bounds))
    return CropsShown(lattice_to_scene(corners, lattice) * shrink, np.array([crop.entropy for crop in crops]))


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Indented JSON with a final newline; key order as given."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
