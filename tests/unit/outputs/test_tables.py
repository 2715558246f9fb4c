"""The detections table: columns, order, identity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.outputs.geoparquet import read_detections
from pipeline.outputs.tables import DETECTION_SCHEMA, _covering
from pipeline.outputs.wkb import polygon_corners
from tests.support.outputs import CALIBRATION, CLASSES, sample, write_sample

COLUMNS = [
    *("geometry", "detection_id", "scene_id", "class_id", "class_name", "score", "precision"),
    *("length_m", "width_m", "area_m2", "azimuth_deg", "px_cx", "px_cy", "px_w", "px_h", "px_angle_rad"),
    *("stage", "edge", "n_merged", "entropy", "tile_id", "model_id", "run_id", "acquired", "bbox"),
]


@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("georeferenced", [True, False])
def test_columns_and_types_are_the_same_for_every_scene(n: int, georeferenced: bool, tmp_path: Path) -> None:
    table = sample(n, georeferenced=georeferenced).table()
    assert table.column_names == COLUMNS
    assert table.schema.equals(DETECTION_SCHEMA)
    back = read_detections(write_sample(table, tmp_path / "d.parquet"))
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


@pytest.mark.parametrize("n", [0, 1, 300])
def test_a_score_is_worth_what_the_calibration_says_in_its_own_row_and_nothing_without_one(n: int) -> None:
    s = sample(n)
    table = s.table(CALIBRATION)
    assert table.schema.equals(DETECTION_SCHEMA)
    expected = np.interp(table["score"].to_numpy(), (0.3, 0.9), (0.1, 0.85))
    np.testing.assert_array_equal(table["precision"].to_numpy(), expected)
    assert s.table()["precision"].null_count == n
    assert table.drop_columns(["precision"]).equals(s.table().drop_columns(["precision"])), "ids do not change by it"


def test_bytes_do_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    s = sample(2000)
    shuffled = s.rows(np.random.default_rng(1).permutation(2000))
    assert (
        write_sample(s.table(), tmp_path / "a").read_bytes()
        == write_sample(shuffled.table(), tmp_path / "b").read_bytes()
    )


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


@given(arrays(np.float64, (20, 4, 2), elements=st.floats(-2e7, 2e7)))
def test_the_covering_holds_every_corner_exactly(corners: np.ndarray) -> None:
    box = np.array([list(row.values()) for row in _covering(corners).to_pylist()], np.float64)
    assert (box[:, None, :2] <= corners).all()
    assert (corners <= box[:, None, 2:]).all()


def test_what_is_not_known_of_the_acquisition_is_null_and_changes_no_id() -> None:
    known, unknown = sample(20).table(), sample(20, acquired=None).table()
    assert known["acquired"].to_pylist() == ["2023-07-14"] * 20
    assert unknown["acquired"].null_count == 20
    assert unknown["detection_id"].equals(known["detection_id"])
