"""The scenes whose detections are in the dataset, as a Parquet file: what an update must know of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.types import FloatArray

Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees. What lies across ±180° has -180 and 180."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneEntry:
    """One scene of the dataset."""

    scene_id: str
    model_id: str
    run_id: str
    version: str
    """Of its detections and of what is known of the scene: another version has other rows."""
    month: str
    """YYYY-MM (UTC), or unknown."""
    acquired_s: float | None
    """Seconds since 1970; None when not known to the second."""
    sensor: str
    """Empty when unknown."""
    width: int
    height: int
    """Scene pixels."""
    border_px: float
    """What lies nearer to the scene's edge, in its pixels, may be cut by it."""
    rows: int
    file: str
    """Its part; empty when its rows are in compacted files, and when it has none."""
    west: float | None
    south: float | None
    east: float | None
    north: float | None
    left_out: str
    """Why its detections are not in the dataset; empty for most."""

    @property
    def bounds(self) -> Bounds | None:
        """Of its detections; None when there are none."""
        if self.west is None or self.south is None or self.east is None or self.north is None:
            return None
        return self.west, self.south, self.east, self.north


_TYPES: dict[str, pa.DataType] = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
_SCHEMA = pa.schema(
    [
        pa.field(one.name, _TYPES[str(one.type).split(" ")[0]], nullable="None" in str(one.type))
        for one in fields(SceneEntry)
    ]
)


def write_scenes(entries: Iterable[SceneEntry], path: Path) -> str:
    """Entries as a file, sorted by ``scene_id``; its SHA-256 (hex). The same entries give the same bytes."""
    rows = [asdict(entry) for entry in sorted(entries, key=lambda entry: entry.scene_id)]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), path, compression="zstd")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_scenes(path: Path, scene_ids: Collection[str] | None = None) -> list[SceneEntry]:
    """The entries of a file, or of some scenes alone; where none of them is in it, its names alone are read."""
    if scene_ids is None:
        return _entries(pq.read_table(path))
    names = pa.array(sorted(scene_ids), pa.string())
    return _some(path, pc.is_in(pq.read_table(path, columns=["scene_id"]).column(0), names))


def read_versions(path: Path) -> list[tuple[str, str]]:
    """``scene_id`` and ``version`` of every entry of a file."""
    table = pq.read_table(path, columns=["scene_id", "version"])
    return list(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))


def read_scenes_at(path: Path, seconds: FloatArray, within_s: float) -> list[SceneEntry]:
    """The entries of scenes that were taken within so many seconds of one of the times ``seconds``, ascending."""
    times = pq.read_table(path, columns=["acquired_s"]).column(0).to_numpy()
    first = np.searchsorted(seconds, times - within_s)
    near = seconds[np.minimum(first, len(seconds) - 1)]
    return _some(path, pa.array(np.abs(near - times) <= within_s))


def _some(path: Path, chosen: Any) -> list[SceneEntry]:
    return _entries(pq.read_table(path).filter(chosen)) if pc.any(chosen).as_py() else []


def _entries(table: pa.Table) -> list[SceneEntry]:
    return [SceneEntry(**row) for row in table.to_pylist()]
