"""Detections tables of any size for the tests and benchmarks of the output formats."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyproj

from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.outputs.tables import Table, TableIdentity, detections_table
from pipeline.types import Calibration, Detections, FloatArray, Frame, GroundMeasures

UTM_32N = pyproj.CRS.from_epsg(32632)
CLASSES = ("ship", 'quay "crane"', "Möwe")

CALIBRATION = Calibration(
    method="by hand", scores=(0.3, 0.9), precision=(0.1, 0.85), boxes=100, iou=0.5, scenes=("a", "b"), ece_before=0.2,
    ece_after=0.05,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything a table is made from, in the order the detections arrived."""

    corners_world: FloatArray
    px_boxes: FloatArray
    measures: GroundMeasures | None
    detections: Detections
    identity: TableIdentity
    tile_ids: tuple[str, ...]

    def table(self, calibration: Calibration | None = None) -> Table:
        """The table of the sample, by a detector with that calibration."""
        return detections_table(
            corners_world=self.corners_world,
            px_boxes=self.px_boxes,
            measures=self.measures,
            detections=self.detections,
            tile_ids=self.tile_ids,
            identity=self.identity,
            calibration=calibration,
        )

    def rows(self, keep: np.ndarray) -> Sample:
        """The sample with the rows of ``keep``, in that order."""
        measured = self.measures
        return Sample(
            self.corners_world[keep],
            self.px_boxes[keep],
            measured and GroundMeasures(*(getattr(measured, one.name)[keep] for one in fields(measured))),
            self.detections[keep],
            self.identity,
            self.tile_ids,
        )


def sample(
    n: int, *, seed: int = 0, georeferenced: bool = True, gsd_m: float = 10.0, acquired: str | None = "2023-07-14"
) -> Sample:
    """``n`` random boxes in a 100,000 pixel scene of ``gsd_m``: in UTM zone 32 north, or of pixels alone."""
    rng = np.random.default_rng(seed)
    width = rng.uniform(8, 40, n)
    boxes = np.column_stack(
        [
            rng.uniform(50, 99_950, (n, 2)),
            width,
            width * rng.uniform(0.2, 0.6, n),
            rng.uniform(-np.pi / 2, np.pi / 2, n),
        ]
    )
    corners = box_corners(boxes)
    world = np.array([400_000.0, 5_600_000.0]) + corners * (gsd_m, -gsd_m) if georeferenced else corners
    return Sample(
        corners_world=world,
        px_boxes=boxes,
        measures=ground_measures(boxes, gsd_m) if georeferenced else None,
        detections=Detections(
            boxes,
            rng.uniform(0.3, 1, n).astype(np.float32).astype(np.float64),
            rng.integers(0, len(CLASSES), n),
            Frame.LATTICE,
            edge=rng.random(n) < 0.1,
            tile_index=rng.integers(0, 100, n),
            n_merged=rng.integers(1, 5, n),
        ),
        identity=TableIdentity(
            scene_id="S2A_demo", model_id="ships@0123456789ab", run_id="f" * 16, classes=CLASSES, acquired=acquired
        ),
        tile_ids=tuple(f"r{i // 10:04d}c{i % 10:04d}" for i in range(100)),
    )


def box_corners(boxes: FloatArray) -> FloatArray:
    """(N, 5) boxes to (N, 4, 2) corners, clockwise on screen."""
    cos, sin = np.cos(boxes[:, 4:]), np.sin(boxes[:, 4:])
    along, across = np.hstack([cos, sin]) * boxes[:, 2:3] / 2, np.hstack([-sin, cos]) * boxes[:, 3:4] / 2
    centre = boxes[:, :2]
    return np.stack(
        [centre - along - across, centre + along - across, centre + along + across, centre - along + across], 1
    )


def ground_measures(boxes: FloatArray, gsd_m: float) -> GroundMeasures:
    """What a tangent plane would measure; good enough where only the columns matter."""
    length, width = boxes[:, 2] * gsd_m, boxes[:, 3] * gsd_m
    return GroundMeasures(length, width, length * width, (np.degrees(boxes[:, 4]) + 90) % 180)


def utm_to_lonlat(points: FloatArray) -> FloatArray:
    """(N, 2) eastings and northings of UTM zone 32 north to longitude and latitude."""
    transformer = pyproj.Transformer.from_crs(UTM_32N, 4326, always_xy=True)
    return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))


def write_sample(table: Table, path: Path, crs: pyproj.CRS | None = UTM_32N) -> Path:
    """A table as a GeoParquet file with two facts of its scene."""
    projjson = None if crs is None else crs.to_json_dict()
    write_geoparquet(table, path, crs_projjson=projjson, metadata={"sensor": "S2", "acquired": "2026"})
    return path
