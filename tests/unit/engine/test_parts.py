"""A part gives back what it was given, to the bit; anything else is known for damaged."""

from __future__ import annotations

import io
import json
import math
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.parts import PART_SCHEMA, DamagedPart, read_part, write_part
from pipeline.types import (
    AttentionMap,
    BlockOutcome,
    Cost,
    Crop,
    Detections,
    DifferenceMap,
    Done,
    Failed,
    Frame,
    Window,
)


def found(seed: int, count: int, tile: int) -> Detections:
    random = np.random.default_rng(seed)
    return Detections(
        boxes=random.normal(size=(count, 5)) * 1e5,
        scores=random.random(count),
        class_ids=random.integers(0, 9, count),
        frame=Frame.LATTICE,
        edge=random.random(count) < 0.5,
        tile_index=np.full(count, tile),
        stage=random.integers(0, 3, count),
        n_merged=random.integers(1, 4, count),
        entropy=np.where(random.random(count) < 0.5, np.nan, random.random(count)),
    )


def outcome(seed: int, counts: list[int], failed: int, crops: int, maps: int) -> BlockOutcome:
    random = np.random.default_rng(seed)
    window = Window(x=3, y=70_000, width=9, height=8)
    return BlockOutcome(
        block_id=7,
        done=tuple(Done(f"r{row}", found(seed + row, count, row)) for row, count in enumerate(counts)),
        failed=tuple(Failed(f"f{row}", "ModelError", "the network said NaN", row + 1) for row in range(failed)),
        cost=Cost(
            read_s=0.1 + 0.2,
            detect_s=1 / 3,
            peak_rss_bytes=123_456_789_012,
            tiles_refined=min(1, crops),
            network_px=10**12,
        ),
        notes=("batch halved to 2",),
        crops=tuple(Crop(window=window, row=row, entropy=math.nan if row else 1 / 7) for row in range(crops)),
        attention=tuple((window, AttentionMap(random.random((4, 3)), 0.1)) for _ in range(maps)),
        difference=tuple((window, DifferenceMap(random.random((2, 5)))) for _ in range(maps // 2)),
    )


def same(a: object, b: object) -> bool:
    """Equal in every field and every bit."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, one.name), getattr(b, one.name)) for one in fields(a))  # type: ignore[arg-type]
    if isinstance(a, float):
        return isinstance(b, float) and (a == b or (math.isnan(a) and math.isnan(b)))
    return a == b


@given(
    seed=st.integers(0, 1000),
    counts=st.lists(st.integers(0, 5), max_size=4),
    failed=st.integers(0, 2),
    crops=st.integers(0, 3),
    maps=st.integers(0, 2),
)
def test_what_was_written_is_read_to_the_bit(seed: int, counts: list[int], failed: int, crops: int, maps: int) -> None:
    if not counts and not failed:
        failed = 1  # a block has tiles
    written = outcome(seed, counts, failed, crops, maps)
    data = write_part(written)
    assert same(read_part(data), written)
    assert write_part(read_part(data)) == data


def test_the_fields_of_a_stored_detection_are_those_of_parts_written_before() -> None:
    """Other names or types would make every part that users have kept a damaged one."""
    stored = {field.name: str(field.type) for field in PART_SCHEMA.field("detections").type.value_type}
    assert stored == {
        **dict.fromkeys(("cx", "cy", "w", "h", "angle_rad", "score"), "double"),
        "class_id": "int64", "edge": "bool", "tile_index": "int64", "stage": "int64", "n_merged": "int64",
        "entropy": "double",
    }  # fmt: skip


def test_the_facts_of_a_block_stand_under_the_names_of_parts_written_before() -> None:
    data = write_part(outcome(0, [1], 0, 2, 0))
    stored = json.loads(pq.read_metadata(io.BytesIO(data)).metadata[b"kestrel:block"])
    assert stored == {
        "block_id": 7, "read_s": 0.1 + 0.2, "detect_s": 1 / 3, "peak_rss_bytes": 123_456_789_012, "tiles_refined": 1,
        "network_px": 10**12, "bytes_read": 0, "notes": ["batch halved to 2"],
        "crops": [[3, 70_000, 9, 8, 0, 1 / 7], [3, 70_000, 9, 8, 1, None]],
    }  # fmt: skip


@pytest.mark.parametrize("drop", ["bytes_read", "network_px"])
def test_a_part_from_before_a_cost_was_counted_is_read(drop: str) -> None:
    written = outcome(0, [1, 2], 1, 1, 0)
    table = pq.read_table(io.BytesIO(write_part(written)))
    facts = json.loads(table.schema.metadata[b"kestrel:block"])
    del facts[drop]
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"kestrel:block": json.dumps(facts).encode()}), sink)
    read = read_part(sink.getvalue())
    assert read.cost == replace(written.cost, **{drop: 0})
    assert same(read.done, written.done)


def test_a_part_from_before_there_was_a_difference_map_is_read() -> None:
    written = replace(outcome(0, [1, 2], 1, 1, 1), difference=())
    table = pq.read_table(io.BytesIO(write_part(written))).drop_columns(["difference"])
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert same(read_part(sink.getvalue()), written)


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -8, -200])
def test_a_part_that_is_cut_off_is_damaged(keep: int) -> None:
    data = write_part(outcome(0, [3, 2], 0, 1, 0))
    with pytest.raises(DamagedPart):
        read_part(data[:keep])


def test_another_parquet_file_is_damaged() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    with pytest.raises(DamagedPart):
        read_part(sink.getvalue())
