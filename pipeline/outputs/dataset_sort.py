"""Many files of the dataset → few, their rows along one Hilbert curve: sorting outside of memory.

Rows are dealt into buckets, stretches of the curve that hold about equally many, and each bucket is sorted by itself.
Memory is that of a few buckets, disk that of all rows once more.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.outputs.dataset import DATASET_SCHEMA, DatasetWriter, Written, batches, sound
from pipeline.outputs.rows import earth_index
from pipeline.outputs.tables import ROW_GROUP_ROWS, Table
from pipeline.types import IntArray

BUCKET_ROWS = 200_000
"""Of one bucket, about: 80 MB."""
SAMPLED = 200_000
"""Rows that tell where buckets begin."""


def sorted_files(
    paths: Sequence[Path], folder: Path, *, target_bytes: int, smallest_bytes: int, bucket_rows: int = BUCKET_ROWS
) -> Iterator[tuple[Path, Written]]:
    """All rows of ``paths``, sorted, in new files of ``folder``, each as soon as it is whole.

    A file ends from ``target_bytes`` on, unless what would follow is less than ``smallest_bytes``: it takes that too.
    The same files give the same ones, and the same rows in whatever files the same order.
    """
    total = sum(_rows_of(path) for path in paths)
    buckets = _dealt(paths, folder, total, max(1, -(-total // bucket_rows)))
    written = 0
    while buckets:
        target = folder / f"{uuid.uuid4().hex}.parquet"
        with DatasetWriter(target) as writer:
            before = written
            while buckets:
                rows = _sorted(buckets.pop(0))
                for start in range(0, len(rows), ROW_GROUP_ROWS):
                    writer.write(rows.slice(start, ROW_GROUP_ROWS))
                written += len(rows)
                left = (total - written) * writer.size / (written - before)
                if writer.size >= target_bytes and left >= smallest_bytes:
                    break
        yield target, writer.written


def _dealt(paths: Sequence[Path], folder: Path, total: int, count: int) -> list[Path]:
    """Files of the rows of each bucket, in the order of the curve; empty ones are left out."""
    splits = _splits(paths, total, count)
    names = [folder / f"{uuid.uuid4().hex}.arrow" for _ in range(count)]
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with ExitStack() as stack:
        files = [stack.enter_context(pa.ipc.new_file(str(name), DATASET_SCHEMA, options=options)) for name in names]
        filled = np.zeros(count, np.int64)
        for table in chain.from_iterable(map(batches, paths)):
            bucket = np.searchsorted(splits, _keys(table), side="right")
            for one in np.unique(bucket):
                files[one].write_table(table.filter(pa.array(bucket == one)))
                filled[one] += 1
    return [name for name, parts in zip(names, filled, strict=True) if parts]


def _splits(paths: Sequence[Path], total: int, count: int) -> IntArray:
    """(count - 1,) keys at which buckets begin, ascending."""
    step, seen = max(1, total // SAMPLED), 0
    sample: list[IntArray] = [np.zeros(0, np.int64)]
    for path in paths if count > 1 else ():
        for table in batches(path, ["lon", "lat"]):
            keys = _keys(table)
            sample.append(keys[(-seen) % step :: step])
            seen += len(keys)
    keys = np.sort(np.concatenate(sample))
    return keys[(np.arange(1, count) * len(keys)) // count] if len(keys) else keys


def _sorted(path: Path) -> Table:
    """The rows of a bucket, whose file goes."""
    with pa.ipc.open_file(str(path)) as file:
        table = file.read_all().combine_chunks()
    path.unlink()
    keyed = table.select(["detection_id", "scene_id"]).append_column("key", pa.array(_keys(table)))
    order = pc.sort_indices(keyed, sort_keys=[(name, "ascending") for name in ("key", "detection_id", "scene_id")])
    return table.take(order)


def _rows_of(path: Path) -> int:
    with sound(path):
        return int(pq.read_metadata(path).num_rows)


def _keys(table: Table) -> NDArray[np.int64]:
    return earth_index(table.column("lon").to_numpy(), table.column("lat").to_numpy())
