"""A known scene → files: the GeoTIFF, its truth as GeoJSON on the ground and as COCO json in pixels. All streamed.

What lies under the names is complete: files are written beside their place and renamed, the scene last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError, PipelineError, StorageError
from pipeline.geometry.obb import obb_to_corners
from pipeline.georeference.georeference import Georeference
from pipeline.raster.own_data import own_data
from pipeline.raster.scene import open_scene
from pipeline.raster.writer import Layout, write_scene
from pipeline.synth.known import KnownScene, Truth
from pipeline.synth.sparse import BLOCK_PX, SparseScene
from pipeline.types import Window

Report = Callable[[int], None]
"""Told the number of pixels after each piece that was rendered."""

TRUTH_ROWS_PX = 2048
"""Height of the strips of the scene whose objects are in memory together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where on Earth the scene lies; north up, square pixels."""

    crs: str | None
    """A projected CRS in metres, e.g. EPSG:32632; None makes a pixel scene."""
    gsd: float
    """Metres of the CRS per pixel."""
    x: float = 400_000.0
    """Easting of the top left corner."""
    y: float = 4_900_000.0
    """Northing of the top left corner."""

    @property
    def transform(self) -> tuple[float, float, float, float, float, float] | None:
        return None if self.crs is None else (self.gsd, 0.0, self.x, 0.0, -self.gsd, self.y)


@own_data()
def make_scene(
    scene: KnownScene, dtype: str, path: Path, placement: Placement, report: Report, tags: dict[str, str]
) -> int:
    """Write ``path`` (GeoTIFF), ``*.truth.geojson`` where there is a CRS, and ``*.coco.json``. Returns the objects.

    Raises StorageError when a file cannot be written, ConfigError for an unknown CRS, SceneNotGeoreferenced for one
    that is not of positions on Earth.
    """

    def render(window: Window) -> NDArray[Any]:
        pixels = scene.render(window)
        report(window.pixels)
        return pixels

    parts: dict[Path, Path] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        placed = _placed(scene, dtype, path, placement)
        coco = path.with_suffix(".coco.json")
        parts[_part(coco)] = coco
        count = _write_coco(_part(coco), path.name, scene)
        if placed is not None:
            geojson = path.with_suffix(".truth.geojson")
            parts[_part(geojson)] = geojson
            _write_geojson(_part(geojson), scene, placed)
        write_scene(
            path, width=scene.width, height=scene.height, bands=3, dtype=dtype, render=render,
            **_layout(scene, placement, tags),
        )  # fmt: skip
        for part, final in parts.items():
            part.replace(final)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path} cannot be written ({error}); check the folder and the free space") from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return count


def _layout(scene: KnownScene, placement: Placement, tags: dict[str, str]) -> Layout:
    """Missing blocks of a sparse scene take no room in its file; such scenes are large, and written fast."""
    placed: Layout = {"crs": placement.crs, "transform": placement.transform, "tags": tags}
    if not isinstance(scene, SparseScene):
        return placed
    return {**placed, "sparse": True, "nodata": 0.0, "level": 1, "block_px": BLOCK_PX}


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _placed(scene: KnownScene, dtype: str, path: Path, placement: Placement) -> Georeference | None:
    """The georeference that a reader of the file will find: read back from a one-block file with the same header."""
    if placement.crs is None:
        return None
    probe = path.with_name(f".{path.stem}.probe.tif")
    try:
        write_scene(
            probe, width=16, height=16, bands=3, dtype=dtype, crs=placement.crs, transform=placement.transform,
            render=lambda window: np.zeros((window.height, window.width, 3), dtype), block_px=16,
        )  # fmt: skip
        return Georeference.of(open_scene(str(probe), RasterConfig()))
    except ValueError as error:
        if isinstance(error, PipelineError):
            raise
        raise ConfigError(f"{placement.crs!r} is no CRS: {error}; give one such as EPSG:32632, or none") from error
    finally:
        probe.unlink(missing_ok=True)


def _strips(scene: KnownScene) -> Iterator[Truth]:
    """The scene's objects, a strip of rows at a time."""
    for y in range(0, scene.height, TRUTH_ROWS_PX):
        height = min(TRUTH_ROWS_PX, scene.height - y)
        yield scene.objects_in(Window(x=0, y=y, width=scene.width, height=height))


def _write_geojson(path: Path, scene: KnownScene, georeference: Georeference) -> None:
    """RFC 7946: longitude and latitude, exterior rings counter-clockwise, closed."""
    with path.open("w") as file:
        file.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        for truth in _strips(scene):
            # Corners run clockwise on screen, which is clockwise on the ground of a north-up scene: turned about.
            rings = georeference.scene_to_lonlat(obb_to_corners(truth.boxes)[:, [0, 3, 2, 1, 0]]).round(8)
            for ring, box, class_id in zip(rings.tolist(), truth.boxes.tolist(), truth.class_ids.tolist(), strict=True):
                properties = {"class_id": class_id, "class_name": scene.classes[class_id]}
                properties |= zip(("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad"), box, strict=True)
                geometry = {"type": "Polygon", "coordinates": [ring]}
                feature = {"type": "Feature", "properties": properties, "geometry": geometry}
                file.write(separator + json.dumps(feature, separators=(",", ":")))
                separator = ",\n"
        file.write("\n]}\n")


def _write_coco(path: Path, file_name: str, scene: KnownScene) -> int:
    """COCO json with the four corners in ``segmentation`` and the oriented box in ``rbox``. Returns the objects."""
    head = {
        "images": [{"id": 1, "file_name": file_name, "width": scene.width, "height": scene.height}],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(scene.classes)],
    }
    count = 0
    with path.open("w") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for truth in _strips(scene):
            corners = obb_to_corners(truth.boxes)
            for ring, box, class_id in zip(corners, truth.boxes.tolist(), truth.class_ids.tolist(), strict=True):
                (x, y), (x1, y1) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
                row = {"id": count + 1, "image_id": 1, "category_id": class_id + 1, "bbox": [x, y, x1 - x, y1 - y],
                       "area": box[2] * box[3], "segmentation": [ring.ravel().tolist()], "rbox": box,
                       "iscrowd": 0}  # fmt: skip
                file.write((",\n" if count else "\n") + json.dumps(row))
                count += 1
        file.write("\n]}\n")
    return count
