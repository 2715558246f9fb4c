"""The table of items, put together piece by piece, is the one that is made in one go."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pipeline.outputs.stac_geoparquet import exchanged, items_table, placeless, read, versions_of, written

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


def item(number: int, version: str = "1") -> dict[str, Any]:
    """Items that differ in what they have: places, times, fields, assets, and fields of assets."""
    properties: dict[str, Any] = {
        "datetime": None if number % 3 else "2024-05-06T07:08:09Z", "kestrel:version": version,
        "kestrel:score_threshold": 1 if number % 2 else 0.25,
    }  # fmt: skip
    if number % 2:
        properties["kestrel:sensor"] = "MSI"
    asset: dict[str, Any] = {"href": f"../{number}", "roles": ["data"]}
    if number % 4 == 1:
        asset["table:columns"] = [{"name": "a", "type": "int"}]
    return {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "id": f"s{number:02d}",
        "geometry": None if number == 5 else SQUARE, **({} if number == 5 else {"bbox": [0.0, 0.0, 1.0, 1.0]}),
        "properties": properties, "links": [{"rel": "root", "href": "."}], "collection": "c",
        "assets": {"detections": asset, **({"map": {"href": "m"}} if number == 7 else {})},
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_any_pieces_give_the_same_rows(seed: int) -> None:
    draw = random.Random(seed)
    numbers = list(range(12))
    draw.shuffle(numbers)
    table = items_table([])
    while numbers:
        count = draw.randint(1, 4)
        piece, numbers = numbers[:count], numbers[count:]
        table = exchanged(table, [items_table([item(number, "0")]) for number in piece], ())
        table = exchanged(table, [items_table([item(number) for number in piece])], ("never there",))
        back = read(written(table, {"id": "c"}))
        assert back is not None
        table = back
    table = exchanged(table, [], ("s03",))
    whole = exchanged(items_table([item(number) for number in range(12) if number != 3]), [], ())
    names = sorted(whole.column_names)
    assert set(versions_of(table, "c").values()) == {"1"}
    assert _known(table.to_pylist(), names) == _known(whole.to_pylist(), names)
    assert placeless(table) == 1


def _known(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Rows without what is null or empty in them, for fields come with the pieces that have them; NaN as text."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(one) for key, one in sorted(value.items()) if one not in (None, [])}
        return [without(one) for one in value] if isinstance(value, list) else value

    return [repr(without({name: row.get(name) for name in names})) for row in rows]


def test_an_item_that_does_not_say_it_is_not_deprecated_in_tables_of_before_either() -> None:
    old = read(written(items_table([item(1)]).drop_columns("deprecated"), {"id": "c"}))
    assert old is not None
    said = item(2)
    said["properties"]["deprecated"] = True
    table = exchanged(old, [items_table([said])], ())
    assert table["deprecated"].to_pylist() == [False, True]


def test_what_is_no_table_of_items_is_none(tmp_path: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    assert read((tmp_path / "other.parquet").read_bytes()) is None
    assert read(b"") is None
    assert read(b"PAR1 and more") is None
