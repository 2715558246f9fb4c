"""Results as runs publish them, read back: detections, what failed, and where the scene lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config import RasterConfig
from pipeline.errors import ConfigError
from pipeline.georeference.georeference import Georeference
from pipeline.names import brief, quoted, shown, told
from pipeline.outputs.geoparquet import read_detections
from pipeline.raster.addresses import is_remote
from pipeline.raster.admission import check_pixels
from pipeline.runs.published import RECORD
from pipeline.storage.fetching import fetched_file
from pipeline.storage.files import file_names, read_file
from pipeline.storage.folders import MANIFEST
from pipeline.storage.paths import join
from pipeline.types import FloatArray, GroundControlPoint, Lattice, RationalPolynomials, Scene

DETECTIONS, FAILURES = "detections.parquet", "failures.parquet"
PX = tuple(f"px_{part}" for part in ("cx", "cy", "w", "h", "angle_rad"))
PRECISION = "precision"
COLUMNS = ("class_name", "score", *PX)
BOUNDS = ("px_x0", "px_y0", "px_x1", "px_y1")
READING = ("bands", "page", "stretch", "stretch_low_percent", "stretch_high_percent", "stretch_range", "nodata", "mask",
           "crs", "rpc_height_m")  # fmt: skip
"""Settings of a record that say how a scene is read. What lets files in is not taken from a file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Published:
    """The result of one scene."""

    scene: Scene
    """As the run saw it."""
    georeference: Georeference | None
    """None for a pixel scene."""
    lattice: Lattice
    tile_px: int
    halo_px: int
    detector: str
    """``model_id``"""
    classes: tuple[str, ...]
    score_threshold: float
    area: Mapping[str, Any] | None
    """The area of interest as the record has it."""
    columns: dict[str, list[Any]]
    """:data:`COLUMNS` of the detections, and :data:`PRECISION` where the result has it."""
    failed_px: FloatArray
    """(F, 4) x0, y0, x1, y1 of the cores of failed tiles, scene pixels."""
    raster: RasterConfig
    """How the scene was read."""

    @property
    def address(self) -> str | None:
        """Of the raster, as ``open_scene`` takes it; None for one that is not a file of this machine: a record could
        lead to any address."""
        return None if any(is_remote(one) for one in self.scene.uris) else ",".join(self.scene.uris)


def published_results(out: str) -> tuple[dict[str, Published], tuple[str, ...]]:
    """The results in ``out`` by scene id, and a sentence for every scene there that has none.

    ``out`` is the folder of one scene or of a run. Raises ConfigError when there is no result, or one is of a version
    that wrote something else; StorageError when a store cannot be read.
    """
    names = file_names(out, folders=True)
    if MANIFEST in names or RECORD in names:
        folders = [out]
    else:
        folders = [join(out, name) for name in sorted(names) if not name.startswith((".", "_"))]
    results, notes = dict[str, Published](), []
    for folder in folders:
        files = file_names(folder)
        if RECORD in files and MANIFEST in files:
            result = _read(folder)
            results[result.scene.scene_id] = result
        elif RECORD in files:
            notes.append(f"{shown(folder)} holds no result, for its run failed or has not ended: not judged")
    if not results:
        why = (
            f": {notes[0]}" if notes else f", for none holds a {MANIFEST}; give the --out of a run, or one scene in it"
        )
        raise ConfigError(f"there is no result in {shown(out)}{why}")
    return results, tuple(notes)


def _read(folder: str) -> Published:
    version = "of an unknown version"
    try:
        record = json.loads(read_file(join(folder, RECORD)) or b"{}")
        version = str(record["versions"]["kestrel"])
        with fetched_file(join(folder, DETECTIONS)) as path:
            table = read_detections(path)
        wanted = (*COLUMNS, *([PRECISION] if PRECISION in table.column_names else []))  # older results have none
        columns = {name: table.column(name).to_pylist() for name in wanted}
        header = record["scene"]
        # Addresses are public ones in the header; the origin says where the files are.
        scene = _scene({**header, "uris": record["origin"], "scene_id": record["scene_id"]})
        reading = {key: _fixed(value) for key, value in record["config"]["raster"].items() if key in READING}
        return Published(
            scene=scene, georeference=Georeference.of(scene), lattice=_lattice(record["lattice"], folder),
            tile_px=record["tile_px"], halo_px=record["halo_px"], detector=record["model_id"],
            classes=tuple(record["model"]["classes"]), score_threshold=record["score_threshold"],
            area=record["area_of_interest"], columns=columns, failed_px=_failed(folder), raster=RasterConfig(**reading),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, OSError, ValueError) as error:
        what = f"without {quoted(error.args[0])}" if isinstance(error, KeyError) else f"in another form ({told(error)})"
        raise ConfigError(
            f"{shown(folder)} was written by kestrel {brief(version)} {what}: detect "
            "the scene again, or judge it with that version"
        ) from error


def recorded_tiling(folder: str) -> tuple[Lattice, int, int] | None:
    """The lattice of a result and the side and the halo of its tiles; None where no record of this version lies there.

    Raises StorageError when a store cannot be read.
    """
    try:
        record = json.loads(read_file(join(folder, RECORD)) or b"{}")
        return _lattice(record["lattice"], folder), int(record["tile_px"]), int(record["halo_px"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return None


def _lattice(said: Mapping[str, Any], folder: str) -> Lattice:
    lattice = Lattice(
        width=int(said["width"]), height=int(said["height"]), scale_x=float(said["scale_x"]),
        scale_y=float(said["scale_y"]), gsd_m=said["gsd_m"],
    )  # fmt: skip
    check_pixels(lattice.width, lattice.height, f"the lattice of {shown(folder)}", RasterConfig())
    return lattice


def _scene(header: Mapping[str, Any]) -> Scene:
    """The header that a record holds, without what this version does not know."""
    known = {key: _fixed(value) for key, value in header.items() if key in Scene.__dataclass_fields__}
    known["gcps"] = tuple(GroundControlPoint(**one) for one in header.get("gcps", ()))
    rpc = header.get("rpc")
    known["rpc"] = None if rpc is None else RationalPolynomials(**{key: _fixed(value) for key, value in rpc.items()})
    return Scene(**known)


def _fixed(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(_fixed(one) for one in value) if isinstance(value, list) else value


def _failed(folder: str) -> FloatArray:
    with fetched_file(join(folder, FAILURES)) as path:
        table = read_detections(path)
    known = [table.column(name).to_pylist() for name in BOUNDS]
    rows = [row for row in zip(*known, strict=True) if None not in row]
    return np.array(rows, np.float64).reshape(-1, 4)
