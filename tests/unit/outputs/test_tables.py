"""The detections table and its Parquet file: columns, order, identity, and what rounding costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.outputs.failures import FAILURE_SCHEMA, failures_table, write_failures
from pipeline.outputs.geoparquet import read_detections, write_geoparquet
from pipeline.outputs.rows import hilbert_index, round_bits
from pipeline.outputs.tables import DETECTION_SCHEMA, ROW_GROUP_ROWS, _covering
from pipeline.outputs.wkb import polygon_corners
from pipeline.types import Failed
from tests.support.outputs import CLASSES, UTM_32N, sample

COLUMNS = [
    *("geometry", "detection_id", "scene_id", "class_id", "class_name", "score"),
    *("length_m", "width_m", "area_m2", "azimuth_deg", "px_cx", "px_cy", "px_w", "px_h", "px_angle_rad"),
    *("stage", "edge", "n_merged", "entropy", "tile_id", "model_id", "run_id", "bbox"),
]


def write(table, path: Path, crs=UTM_32N) -> Path:
    write_geoparquet(
        table, path, crs_projjson=crs and crs.to_json_dict(), metadata={"sensor": "S2", "acquired": "2026"}
    )
    return path


@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("georeferenced", [True, False])
def test_columns_and_types_are_the_same_for_every_scene(n: int, georeferenced: bool, tmp_path: Path) -> None:
    table = sample(n, georeferenced=georeferenced).table()
    assert table.column_names == COLUMNS
    assert table.schema.equals(DETECTION_SCHEMA)
    back = read_detections(write(table, tmp_path / "d.parquet"))
    assert back.schema.equals(DETECTION_SCHEMA)
    assert back.equals(table)


def test_every_value_stands_in_the_row_of_its_box() -> None:
    """Sorting moves whole rows: each row is found again by its centre, and says what its detection said."""
    s = sample(500, seed=3)
    table = s.table().to_pydict()
    corners = polygon_corners(s.table())
    for row in range(500):
        source = int(np.abs(s.px_boxes[:, :2] - (table["px_cx"][row], table["px_cy"][row])).sum(axis=1).argmin())
        d = s.detections
        assert table["score"][row] == d.scores[source]
        assert table["class_name"][row] == CLASSES[d.class_ids[source]]
        assert (table["class_id"][row], table["edge"][row]) == (d.class_ids[source], d.edge[source])
        assert (table["n_merged"][row], table["stage"][row]) == (d.n_merged[source], "global")
        assert table["tile_id"][row] == s.tile_ids[d.tile_index[source]]
        assert table["entropy"][row] is None
        assert table["length_m"][row] == pytest.approx(s.measures.length_m[source], rel=1e-5)
        assert table["azimuth_deg"][row] == pytest.approx(s.measures.azimuth_deg[source], rel=1e-5)
        assert np.abs(np.sort(corners[row], axis=0) - np.sort(s.corners_world[source], axis=0)).max() < 10 * 1e-3


def test_bytes_do_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    s = sample(2000)
    shuffled = s.rows(np.random.default_rng(1).permutation(2000))
    assert write(s.table(), tmp_path / "a").read_bytes() == write(shuffled.table(), tmp_path / "b").read_bytes()


def test_identical_detections_still_get_different_ids_and_one_order() -> None:
    s = sample(50).rows(np.repeat(np.arange(50), 3))
    table = s.table()
    assert len(set(table["detection_id"].to_pylist())) == 150
    assert table.equals(s.rows(np.arange(150)[::-1]).table())


def test_an_id_belongs_to_scene_model_class_and_box_alone() -> None:
    """The id survives another run, score or neighbour; it changes with scene, model, class and box."""
    s = sample(50_000)
    ids = s.table()["detection_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    few, d = s.rows(np.arange(100)), s.detections[:100]
    again = replace(few.detections, scores=d.scores / 2, n_merged=d.n_merged + 1)
    kept = replace(few, detections=again, identity=replace(s.identity, run_id="another"))
    assert set(kept.table()["detection_id"].to_pylist()) <= set(ids)
    for other in (
        replace(few, identity=replace(s.identity, scene_id="another")),
        replace(few, identity=replace(s.identity, model_id="another")),
        replace(few, detections=replace(d, class_ids=(d.class_ids + 1) % 3)),
        replace(few, px_boxes=few.px_boxes + np.array([0, 0, 0.01, 0, 0])),
    ):
        assert not set(other.table()["detection_id"].to_pylist()) & set(ids)


def test_rings_are_closed_counter_clockwise_rectangles_by_shapely() -> None:
    geometry = shapely.from_wkb(sample(200).table()["geometry"].to_pylist())
    assert set(shapely.get_type_id(geometry)) == {3}
    assert shapely.is_valid(geometry).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(geometry)).all()
    assert (shapely.get_num_coordinates(geometry) == 5).all()


@given(gsd_m=st.floats(0.005, 1000), seed=st.integers(0, 50))
@settings(max_examples=40)
def test_written_geometry_is_within_a_thousandth_of_a_pixel(gsd_m: float, seed: int) -> None:
    s = sample(20, seed=seed, gsd_m=gsd_m)
    table = s.table()
    px = np.column_stack([table[name].to_numpy() for name in ("px_cx", "px_cy", "px_w", "px_h", "px_angle_rad")])
    order = np.abs(px[:, None, :2] - s.px_boxes[None, :, :2]).sum(axis=-1).argmin(axis=1)
    assert np.abs(px - s.px_boxes[order]).max() < 1.3e-4
    error = np.abs(polygon_corners(table).mean(axis=1) - s.corners_world[order].mean(axis=1)).max()
    assert error < 1.3e-4 * gsd_m
    error = np.abs(np.sort(polygon_corners(table), axis=1) - np.sort(s.corners_world[order], axis=1)).max()
    assert error < 1.3e-4 * gsd_m


@given(arrays(np.float64, 50, elements=st.floats(-1e7, 1e7)), st.integers(5, 40))
def test_rounding_keeps_the_promised_bits(values: np.ndarray, bits: int) -> None:
    assert (np.abs(round_bits(values, bits) - values) <= np.abs(values) * 2.0**-bits).all()


@given(arrays(np.float64, (20, 4, 2), elements=st.floats(-2e7, 2e7)))
def test_the_covering_holds_every_corner_exactly(corners: np.ndarray) -> None:
    box = np.array([list(row.values()) for row in _covering(corners).to_pylist()], np.float64)
    assert (box[:, None, :2] <= corners).all()
    assert (corners <= box[:, None, 2:]).all()


def test_the_hilbert_curve_visits_every_cell_once_in_steps_of_one() -> None:
    """What makes a Hilbert curve: consecutive cells are neighbours. Checked on all 4,096 cells of a 64 x 64 grid."""
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).reshape(-1, 2).astype(float)
    index = hilbert_index(grid * (1 + 1 / 63), order=6)
    assert sorted(index.tolist()) == list(range(4096))
    steps = np.abs(np.diff(grid[np.argsort(index)], axis=0)).sum(axis=1)
    assert (steps == 1).all()


def test_file_metadata_follows_geoparquet_1_1(tmp_path: Path) -> None:
    file = pq.ParquetFile(write(sample(100).table(), tmp_path / "d.parquet"))
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    geo = json.loads(metadata["geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    corners = polygon_corners(read_detections(tmp_path / "d.parquet"))
    assert column["bbox"] == [*corners.min(axis=(0, 1)), *corners.max(axis=(0, 1))]
    assert (metadata["sensor"], metadata["acquired"]) == ("S2", "2026")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_pixel_scene_has_crs_null_and_an_empty_file_no_row_group(tmp_path: Path) -> None:
    file = pq.ParquetFile(write(sample(0, georeferenced=False).table(), tmp_path / "d.parquet", crs=None))
    column = json.loads(file.schema_arrow.metadata[b"geo"])["columns"]["geometry"]
    assert column["crs"] is None
    assert "crs" in column, "a missing crs would mean longitude and latitude"
    assert "bbox" not in column
    assert file.metadata.num_row_groups == 0


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    file = pq.ParquetFile(write(sample(ROW_GROUP_ROWS + 1).table(), tmp_path / "d.parquet"))
    assert [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)] == [ROW_GROUP_ROWS, 1]


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
