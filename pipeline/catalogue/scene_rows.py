"""The result of one scene → its rows of the dataset, in a local file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.catalogue.results import Published
from pipeline.georeference.georeference import lonlat_of
from pipeline.names import told
from pipeline.outputs.dataset import DatasetWriter, SceneFacts, Written, file_crs, scene_batches
from pipeline.outputs.scene_index import SceneEntry
from pipeline.outputs.tables import Table
from pipeline.outputs.times import exact_s, month_of, span
from pipeline.storage.moving import local_copy
from pipeline.storage.paths import join

SOURCE = "detections.parquet"
ROWS_VERSION = 1
"""Of what is made of a result here: another one makes every scene's rows anew."""
BORDER_PX = 2.0
"""Pixels, as the network sees them, within which a box is taken to be cut by the scene's edge (as ruling 7 has it)."""
NO_CRS = "it has no CRS: places on Earth are unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRows:
    """What a result becomes in the dataset."""

    entry: SceneEntry
    """Its ``file`` is still empty."""
    path: Path | None
    """The rows, on this machine; None when there are none."""
    written: Written | None


def rows_version(result_version: str) -> str:
    """Changes when other rows may come of a result: with its own version, and with this code's."""
    return f"{ROWS_VERSION}-{result_version[:32]}"


def scene_rows(result: Published, folder: Path) -> SceneRows:
    """Make the rows of a result in a file of ``folder``.

    A pixel scene has none, and neither has one whose file is damaged: the entry says so. Raises StorageError when it
    cannot be read.
    """
    if SOURCE not in result.manifest["files"]:
        return SceneRows(entry=_entry(result, None, f"it holds no {SOURCE}"), path=None, written=None)
    source = local_copy(join(result.folder, SOURCE), folder)
    target = folder / f"{uuid.uuid4().hex}.parquet"
    try:
        with DatasetWriter(target) as writer:
            for rows in _rows(source, _facts(result)):
                writer.write(rows)
    except _LeftOut as error:
        return SceneRows(entry=_entry(result, None, str(error)), path=None, written=None)
    finally:
        if source.parent == folder:
            source.unlink(missing_ok=True)
    written = writer.written
    return SceneRows(entry=_entry(result, written, ""), path=target if written.rows else None, written=written)


class _LeftOut(Exception):
    """Why there are no rows; errors of writing are others."""


def _rows(source: Path, facts: SceneFacts) -> Iterator[Table]:
    try:
        crs = file_crs(source)
        if crs is None:
            raise _LeftOut(NO_CRS)
        yield from scene_batches(source, crs, lonlat_of, facts)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:  # pyarrow's and PROJ's among them
        raise _LeftOut(f"its {SOURCE} cannot be read: {told(error)}") from error


def _facts(result: Published) -> SceneFacts:
    acquired = _scene(result).get("acquired")
    known = span(acquired) if acquired else None
    when = None if known is None else round(known[0].timestamp() * 1e6)
    return SceneFacts(acquired=acquired, acquired_us=when, status=str(result.record.get("status", "PUBLISHED")))


def _entry(result: Published, written: Written | None, left_out: str) -> SceneEntry:
    record, scene = result.record, _scene(result)
    lattice, acquired = record.get("lattice") or {}, scene.get("acquired")
    scale = max(float(lattice.get("scale_x", 1.0)), float(lattice.get("scale_y", 1.0)))
    west, south, east, north = (written.bbox if written else None) or (None,) * 4
    return SceneEntry(
        scene_id=result.scene_id, model_id=str(record.get("model_id", "")), run_id=str(record.get("run_id", "")),
        version=rows_version(result.version), month=month_of(acquired), acquired_s=exact_s(acquired),
        sensor=scene.get("sensor") or "", width=int(scene.get("width", 0)), height=int(scene.get("height", 0)),
        border_px=BORDER_PX * scale, rows=written.rows if written else 0, file="",
        west=west, south=south, east=east, north=north, left_out=left_out,
    )  # fmt: skip


def _scene(result: Published) -> dict[str, Any]:
    return dict(result.record.get("scene") or {})
