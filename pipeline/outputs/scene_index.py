"""The scenes whose detections are in the dataset, as a Parquet file: what an update must know of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.outputs.dataset import sound
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWritten:
    """A list of scenes that was written."""

    scenes: int
    left_out: int
    digest: str
    """SHA-256 of its bytes, hex: the same entries give the same."""


def write_changed(before: Path | None, target: Path, changed: Mapping[str, SceneEntry | None]) -> ListWritten:
    """The entries of a file (None: of none), some exchanged (None: gone) and new ones added, sorted by ``scene_id``."""
    new = [asdict(entry) for entry in changed.values() if entry is not None]
    table = pa.Table.from_pylist(new, schema=_SCHEMA)
    if before is not None:
        old = _read(before)
        there = pc.is_in(old.column("scene_id"), pa.array(sorted(changed), pa.string()))
        table = pa.concat_tables([old.filter(pc.invert(there)).cast(_SCHEMA), table])
    return _written(table, target)


def write_compacted(before: Path, target: Path, paths: Collection[str]) -> ListWritten:
    """The entries of a file after the parts ``paths`` went into compacted files."""
    table = _read(before)
    file = table.column("file")
    merged = pc.if_else(pc.is_in(file, pa.array(sorted(paths), pa.string())), "", file)
    place = _SCHEMA.get_field_index("file")
    return _written(table.set_column(place, _SCHEMA.field(place), merged.cast(pa.string())), target)


def _written(table: pa.Table, target: Path) -> ListWritten:
    table = table.sort_by("scene_id")
    pq.write_table(table, target, compression="zstd")
    left_out = pc.sum(pc.not_equal(table.column("left_out"), "")).as_py() or 0
    return ListWritten(scenes=len(table), left_out=left_out, digest=hashlib.sha256(target.read_bytes()).hexdigest())


def read_scenes(path: Path, scene_ids: Collection[str] | None = None) -> list[SceneEntry]:
    """The entries of a file, or of some scenes alone; where none of them is in it, its names alone are read."""
    if scene_ids is None:
        return _entries(_read(path))
    names = pa.array(sorted(scene_ids), pa.string())
    return _some(path, pc.is_in(_read(path, columns=["scene_id"]).column(0), names))


def read_versions(path: Path) -> list[tuple[str, str]]:
    """``scene_id`` and ``version`` of every entry of a file."""
    table = _read(path, columns=["scene_id", "version"])
    return list(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))


def read_scenes_at(path: Path, seconds: FloatArray, within_s: float) -> list[SceneEntry]:
    """The entries of scenes that were taken within so many seconds of one of the times ``seconds``, ascending."""
    times = _read(path, columns=["acquired_s"]).column(0).to_numpy()
    first = np.searchsorted(seconds, times - within_s)
    near = seconds[np.minimum(first, len(seconds) - 1)]
    return _some(path, pa.array(np.abs(near - times) <= within_s))


def _read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    with sound(path):
        return pq.read_table(path, columns=None if columns is None else list(columns))


def _some(path: Path, chosen: Any) -> list[SceneEntry]:
    return _entries(_read(path).filter(chosen)) if pc.any(chosen).as_py() else []


def _entries(table: pa.Table) -> list[SceneEntry]:
    return [SceneEntry(**row) for row in table.to_pylist()]
