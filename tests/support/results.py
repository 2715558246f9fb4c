"""Published results of made-up scenes, as a run would leave them, without a detector: detections, record, manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pyproj import CRS

from pipeline.geometry.frames import lattice_to_scene
from pipeline.geometry.obb import corners_to_obb, obb_to_corners
from pipeline.georeference.georeference import Georeference
from pipeline.outputs.geoparquet import write_geoparquet
from pipeline.outputs.tables import TableIdentity, detections_table
from pipeline.storage.folders import publish_folder, staging_folder
from pipeline.types import Detections, FloatArray, Frame, Lattice, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeScene:
    """A north-up scene of square pixels somewhere on Earth, and the boxes found in it."""

    scene_id: str
    boxes: FloatArray
    """(N, 5) scene pixels."""
    scores: FloatArray | None = None
    class_ids: Sequence[int] = ()
    epsg: int | None = 32632
    """None: a pixel scene."""
    origin: tuple[float, float] = (500_000.0, 5_600_000.0)
    """World coordinates of the upper left corner."""
    gsd: float = 10.0
    size: int = 1000
    acquired: str | None = "2023-07-14T10:20:30Z"
    sensor: str | None = "S2A"
    status: str = "PUBLISHED"
    run_id: str = "f" * 16
    model_id: str = "ships@0123456789ab"
    classes: tuple[str, ...] = field(default=("ship", "plane"))

    @property
    def georeference(self) -> Georeference | None:
        return Georeference.of(self.scene)

    @property
    def scene(self) -> Scene:
        x, y = self.origin
        placed = self.epsg is not None
        return Scene(
            scene_id=self.scene_id, uris=(f"{self.scene_id}.tif",), width=self.size, height=self.size, bands=(1, 2, 3),
            band_count=3, dtype="uint8", driver="GTiff", crs_wkt=CRS.from_epsg(self.epsg).to_wkt() if placed else None,
            transform=(self.gsd, 0.0, x, 0.0, -self.gsd, y) if placed else None, acquired=self.acquired,
            sensor=self.sensor,
        )  # fmt: skip

    def publish(self, out: str) -> None:
        """Put the result in the folder ``out``."""
        count = len(self.boxes)
        georeference = self.georeference
        lattice = Lattice(width=self.size, height=self.size, scale_x=1.0, scale_y=1.0, gsd_m=self.gsd)
        corners = lattice_to_scene(obb_to_corners(self.boxes), lattice)
        table = detections_table(
            corners_world=corners if georeference is None else georeference.scene_to_world(corners),
            px_boxes=corners_to_obb(corners) if count else np.zeros((0, 5)),
            measures=None if georeference is None else georeference.measure(corners),
            detections=Detections(
                np.asarray(self.boxes, np.float64).reshape(-1, 5),
                np.full(count, 0.5) if self.scores is None else np.asarray(self.scores, np.float64),
                np.asarray(self.class_ids or [0] * count, np.int64),
                Frame.LATTICE,
            ),
            tile_ids=("r0000c0000",),
            identity=TableIdentity(
                scene_id=self.scene_id, model_id=self.model_id, run_id=self.run_id, classes=self.classes,
                acquired=self.acquired,
            ),
        )  # fmt: skip
        with staging_folder(out, self.scene_id) as folder:
            projjson = None if georeference is None else georeference.crs_projjson()
            write_geoparquet(table, folder / "detections.parquet", crs_projjson=projjson, metadata={})
            (folder / "run.json").write_text(json.dumps(self.record()))
            publish_folder(folder, out, self.scene_id)

    def record(self) -> dict[str, object]:
        """What the catalogue asks of run.json."""
        scene = {"acquired": self.acquired, "sensor": self.sensor, "width": self.size, "height": self.size}
        return {
            "scene_id": self.scene_id, "run_id": self.run_id, "model_id": self.model_id, "status": self.status,
            "detections": len(self.boxes), "scene": scene, "lattice": {"scale_x": 1.0, "scale_y": 1.0},
        }  # fmt: skip


def boxes_at(points: FloatArray, *, length: float = 8.0, width: float = 3.0, angle: float = 0.4) -> FloatArray:
    """(N, 5) boxes of one size around (N, 2) points."""
    points = np.asarray(points, np.float64).reshape(-1, 2)
    return np.column_stack([points, np.tile([length, width, angle], (len(points), 1))])


def dataset_rows(out: str) -> list[dict[str, object]]:
    """All rows of the dataset, as a reader gets them that follows the snapshot, sorted by scene and id."""
    import pyarrow.parquet as pq

    base = Path(out) / "_catalogue" / "detections"
    files = json.loads((base / "snapshot.json").read_text())["files"]
    rows = [row for file in files for row in pq.read_table(base / file["path"]).to_pylist()]
    return sorted(rows, key=lambda row: (row["scene_id"], row["detection_id"]))
