"""Which rows of the dataset of detections are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.outputs.dataset import DATASET_SCHEMA, sound
from pipeline.outputs.tables import ROW_GROUP_ROWS, Table
from pipeline.outputs.where import condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions that all hold; None, or nothing, for no condition."""

    where: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north of the boxes' centres, degrees; west may be beyond east, across ±180°."""
    since: datetime | None = None
    until: datetime | None = None
    """Not any more. Scenes of unknown time are in neither."""
    classes: tuple[str, ...] = ()
    min_score: float | None = None

    def expression(self) -> Any:
        """For pyarrow; None for no condition. Raises ConfigError for a ``where`` that makes no sense."""
        parts = [] if self.where is None else [condition(self.where, DATASET_SCHEMA)]
        if self.bbox is not None:
            west, south, east, north = self.bbox
            from_west, to_east = pc.field("lon") >= west, pc.field("lon") <= east
            parts += [pc.field("lat") >= south, pc.field("lat") <= north]
            parts.append(from_west & to_east if west <= east else from_west | to_east)
        if self.since is not None:
            parts.append(pc.field("acquired_utc") >= pa.scalar(self.since, pa.timestamp("us", "UTC")))
        if self.until is not None:
            parts.append(pc.field("acquired_utc") < pa.scalar(self.until, pa.timestamp("us", "UTC")))
        if self.classes:
            parts.append(pc.field("class_name").isin(list(self.classes)))
        if self.min_score is not None:
            parts.append(pc.field("score") >= self.min_score)
        made = None
        for part in parts:
            made = part if made is None else made & part
        return made


def selected(path: Path, expression: Any) -> Iterator[Table]:
    """The rows of a file that are asked for, a row group at a time; those that cannot hold one are not read."""
    options = {"batch_size": ROW_GROUP_ROWS, "batch_readahead": 1, "fragment_readahead": 1}
    with sound(path):
        dataset = ds.dataset(path, format="parquet", schema=DATASET_SCHEMA)
        for batch in dataset.to_batches(filter=expression, **options):
            if len(batch):
                yield pa.Table.from_batches([batch])


def rows_of(table: Table, scene_ids: Collection[str]) -> dict[str, int]:
    """Scene → its rows in a table, of these scenes, where there are any."""
    counts = pc.value_counts(table.column("scene_id")).to_pylist() if scene_ids else []
    return {one["values"]: one["counts"] for one in counts if one["values"] in scene_ids}


def primary_alone(table: Table) -> Table:
    """The best view of each object."""
    return table.filter(table.column("primary"))
