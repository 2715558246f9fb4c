"""The ledger of ingestion in one Parquet file: a million scenes are one read. Part of pyarrow's home.

A row is one scene: under which name the ledger keeps it, what to look for it by, and the whole entry as JSON.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.outputs.parquet_bytes import read_parquet_bytes

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("mark", pa.string()),
        pa.field("modified", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("scene_id", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One scene."""

    name: str
    """Of its file in the ledger."""
    mark: str | None
    """Version of that file, as a listing tells it; None where there is no file, and the row is all there is."""
    modified: datetime
    """When it was written, by the clock of the store; UTC."""
    key: str
    scene_id: str
    state: str
    entry: str
    """JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows: those that are all of this."""

    states: Collection[str] | None = None
    begins: str | None = None
    """The key begins with it."""
    begins_not: str | None = None
    holds: str | None = None
    """The JSON holds it."""


class LedgerTable:
    """Rows by name. Kept as columns: objects of Python would take ten times the memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.combine_chunks()
        self._columns = {name: _one_chunk(self._table[name]) for name in SCHEMA.names}
        self._places = dict(zip(self._table["name"].to_pylist(), range(len(self._table)), strict=True))

    def __len__(self) -> int:
        return len(self._table)

    def get(self, name: str) -> LedgerRow | None:
        """The row of this name."""
        place = self._places.get(name)
        if place is None:
            return None
        return LedgerRow(**{name: column[place].as_py() for name, column in self._columns.items()})

    def marks(self) -> dict[str, str | None]:
        """Name → mark, of all rows."""
        return dict(zip(self._table["name"].to_pylist(), self._table["mark"].to_pylist(), strict=True))

    def rows(self, wanted: Wanted | None = None, besides: Collection[str] = ()) -> Iterator[LedgerRow]:
        """All rows, or those ``wanted``; without those named in ``besides``."""
        for batch in self._filtered(wanted).to_batches(max_chunksize=10_000):
            yield from (LedgerRow(**row) for row in batch.to_pylist() if row["name"] not in besides)

    def keys(self, wanted: Wanted, besides: Collection[str] = ()) -> Iterator[str]:
        """Keys of the rows ``wanted``, without those named in ``besides``."""
        table = self._filtered(wanted)
        names, keys = table["name"].to_pylist(), table["key"].to_pylist()
        return (key for name, key in zip(names, keys, strict=True) if name not in besides)

    def counts(self, besides: Collection[str] = ()) -> Counter[str]:
        """State → rows in it."""
        return Counter(self._without(besides)["state"].to_pylist())

    def with_rows(self, rows: Mapping[str, LedgerRow], gone: Collection[str] = ()) -> LedgerTable:
        """A table in which ``rows`` stand in place of those of their name, and ``gone`` are not."""
        kept = self._without({*rows, *gone})
        return LedgerTable(pa.concat_tables([kept, _table(rows.values())]))

    def to_parquet(self) -> bytes:
        """The file: the same rows give the same bytes."""
        file = io.BytesIO()
        pq.write_table(self._table.sort_by("name"), file, compression="zstd")
        return file.getvalue()

    def _filtered(self, wanted: Wanted | None) -> pa.Table:
        table = self._table
        if wanted is None:
            return table
        if wanted.states is not None:
            table = table.filter(pc.is_in(table["state"], value_set=pa.array(list(wanted.states), pa.string())))
        if wanted.begins is not None:
            table = table.filter(pc.starts_with(table["key"], wanted.begins))
        if wanted.begins_not is not None:
            table = table.filter(pc.invert(pc.starts_with(table["key"], wanted.begins_not)))
        if wanted.holds is not None:
            table = table.filter(pc.match_substring(table["entry"], wanted.holds))
        return table

    def _without(self, names: Collection[str]) -> pa.Table:
        places = [place for name in names if (place := self._places.get(name)) is not None]
        if not places:
            return self._table
        keep = np.ones(len(self._table), bool)
        keep[places] = False
        return self._table.filter(pa.array(keep))


def empty_ledger() -> LedgerTable:
    """Without a row."""
    return LedgerTable(SCHEMA.empty_table())


def read_ledger(content: bytes) -> LedgerTable:
    """The table of a file. Raises ValueError for bytes that are none."""
    try:
        table = read_parquet_bytes(content)
    except (pa.ArrowException, OSError) as error:
        raise ValueError("it is no Parquet file, or half of one") from error
    if not table.schema.equals(SCHEMA):
        raise ValueError("its columns are others than a ledger has")
    return LedgerTable(table)


def _table(rows: Iterable[LedgerRow]) -> pa.Table:
    every = list(rows)
    return pa.table({name: [getattr(row, name) for row in every] for name in SCHEMA.names}, schema=SCHEMA)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
