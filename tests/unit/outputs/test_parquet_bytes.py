"""Parquet in memory is read by one function, whose process may end at once."""

from __future__ import annotations

import io
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.outputs.parquet_bytes import read_parquet_bytes
from tests.conftest import ROOT


def test_the_table_comes_back_whole() -> None:
    table = pa.table({"a": range(10_000), "b": [{"c": [str(one)]} for one in range(10_000)]})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd", row_group_size=1_000)
    assert read_parquet_bytes(file.getvalue()).equals(table)
    for content in (b"", b"PAR1 and more", file.getvalue()[:-100]):
        with pytest.raises((pa.ArrowException, OSError)):
            read_parquet_bytes(content)


def test_arrow_reads_objects_of_python_in_threads_of_its_own() -> None:
    """Why there is such a function: once this fails, it can go."""
    threads = set()

    class Told(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            threads.add(threading.get_ident())
            return super().read(size)

    file = io.BytesIO()
    pq.write_table(pa.table({"a": range(1000)}), file)
    pq.read_table(Told(file.getvalue()))
    assert threads - {threading.get_ident()}


def test_nobody_else_reads_parquet_in_memory() -> None:
    found = [path.name for path in (ROOT / "pipeline").rglob("*.py") if "read_table(io.BytesIO" in path.read_text()]
    assert found == []
