"""The table of what failed."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from pipeline.outputs.failures import FAILURE_SCHEMA, failures_table, write_failures
from pipeline.types import Failed


def test_failures_are_listed_by_tile_with_their_place(tmp_path: Path) -> None:
    failures = [Failed("r1c0", "ModelError", "NaN", 3), Failed("r0c2", "SceneUnreadable", "cut off")]
    table = failures_table(failures, scene_id="s", bounds_px={"r1c0": (0, 512, 512, 1024)})
    write_failures(table, tmp_path / "f.parquet")
    rows = pq.read_table(tmp_path / "f.parquet").to_pylist()
    assert [row["tile_id"] for row in rows] == ["r0c2", "r1c0"]
    assert rows[0]["px_x0"] is None
    assert (rows[1]["px_y0"], rows[1]["px_y1"], rows[1]["attempts"], rows[1]["reason"]) == (512, 1024, 3, "NaN")


def test_no_failures_are_a_table_of_the_same_schema(tmp_path: Path) -> None:
    write_failures(failures_table([], scene_id="s"), tmp_path / "f.parquet")
    assert pq.read_table(tmp_path / "f.parquet").schema.equals(FAILURE_SCHEMA)
