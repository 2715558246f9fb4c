"""The detections of an output folder that somebody wants, as one file in the format of their choice."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.catalogue.detections import update
from pipeline.catalogue.results import manifests, no_results, published_results, scene_names
from pipeline.catalogue.scene_lists import SceneLists
from pipeline.catalogue.snapshot import DatasetFile, Snapshot, folder_of, read_snapshot, still_listed
from pipeline.catalogue.withdrawn import withdrawn
from pipeline.errors import ConfigError, redacted
from pipeline.names import quoted
from pipeline.outputs.export import FORMATS
from pipeline.outputs.selection import Selection, primary_alone, rows_of, selected
from pipeline.outputs.tables import Table
from pipeline.outputs.times import UNKNOWN_MONTH
from pipeline.storage.clients import translated
from pipeline.storage.moving import local_copy, put_file
from pipeline.storage.paths import join, local_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to."""

    rows: int
    notes: tuple[str, ...]
    """What is not in it that one may look for, a sentence each."""


TURNS = 5
"""Attempts where others replace files while they are read."""


def export(out_uri: str, selection: Selection, to: str, file: str, *, every_view: bool = False) -> Exported:
    """Write the detections of ``out_uri`` that are selected to ``file``, whole or not at all, in the format ``to``.

    Of an object in several scenes of one pass the best view alone, or ``every_view``.

    Where nobody has collected the results yet, they are put together for the time being. Raises ConfigError for a place
    that cannot be, a condition that makes no sense, and a folder without results; StorageError when a store fails.
    """
    expression = selection.expression()
    _check_place(file)
    layer = re.sub(r"[^\w-]+", "_", Path(file).stem) or "detections"
    said: list[str] = []
    with translated("cannot make the export"):
        of_withdrawn = withdrawn(out_uri, said.append)
        for turn in range(1, TURNS + 1):
            with tempfile.TemporaryDirectory(prefix="kestrel-") as name, _dataset(out_uri, Path(name)) as dataset:
                base, snapshot, notes = dataset
                counted = _Counted(of_withdrawn, every_view=every_view)
                files = [one for one in snapshot.files if _may_hold(one, selection)]
                made = Path(name) / f"made.{to}"
                try:
                    FORMATS[to](counted.through(_rows(base, files, expression, Path(name))), made, layer)
                except OSError:
                    if turn == TURNS or base != folder_of(out_uri) or still_listed(out_uri, snapshot.paths):
                        raise
                    continue
                put_file(made, file)
                break
    if counted.kept_back:
        views = f"{counted.kept_back} further views of objects that another scene of the same pass shows better"
        notes = (*notes, f"{views} are left out: --all-views writes them too")
    if counted.of_withdrawn:
        rows, scenes = sum(counted.of_withdrawn.values()), len(counted.of_withdrawn)
        why = "their items say why, and _catalogue/withdrawn.json names them"
        notes = (*notes, f"{rows} of the detections are of {scenes} scenes that are withdrawn: {why}")
    if selection.since is not None or selection.until is not None:
        timeless = sum(one.rows for one in snapshot.files if one.month == UNKNOWN_MONTH)
        if timeless:
            notes = (*notes, f"{timeless} detections of scenes of unknown time are neither since nor until anything")
    return Exported(rows=counted.rows, notes=(*notes, *said))


def _check_place(file: str) -> None:
    path = local_path(file)
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"--file {quoted(file)} is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--file {quoted(file)}: there is no folder {quoted(str(path.parent))}; make it first")


@contextmanager
def _dataset(out_uri: str, folder: Path) -> Iterator[tuple[str, Snapshot, tuple[str, ...]]]:
    """Where the dataset of an output folder lies, what it is, and what is to be said of it; made in ``folder`` where
    there is none."""
    there = read_snapshot(out_uri)
    if there is not None:
        snapshot = there[0]
        yield folder_of(out_uri), snapshot, (*_not_collected(out_uri, snapshot, folder), *_left_out(snapshot))
        return
    made = str(folder / "out")
    update(made, published_results(out_uri))
    now = read_snapshot(made)
    if now is None:
        raise no_results(out_uri)
    note = f"nothing is collected in {redacted(out_uri)} yet: its results were put together for this export alone; "
    yield folder_of(made), now[0], (f"{note}kestrel collect makes it faster the next time", *_left_out(now[0]))


def _not_collected(out_uri: str, snapshot: Snapshot, folder: Path) -> tuple[str, ...]:
    known = SceneLists(out_uri, snapshot, folder).versions()
    others = [name for name in scene_names(out_uri) if name not in known]
    count = sum(1 for _ in manifests(out_uri, others)) if others else 0
    return (f"{count} results are not among them yet: kestrel collect takes them in",) if count else ()


def _left_out(snapshot: Snapshot) -> tuple[str, ...]:
    count = sum(one.left_out for one in snapshot.scenes.values())
    return (f"{count} scenes have no place on Earth, or damaged files, and are not among them",) if count else ()


def _may_hold(file: DatasetFile, selection: Selection) -> bool:
    """Whether a file can hold a row that is selected, by what the snapshot says of it."""
    if selection.bbox is not None:
        west, south, east, north = selection.bbox
        low, high = file.bbox[0], file.bbox[2]
        across = (low <= east and west <= high) if west <= east else (high >= west or low <= east)
        if not across or file.bbox[1] > north or file.bbox[3] < south:
            return False
    if file.month == UNKNOWN_MONTH:
        return True
    first = selection.since is None or file.month >= f"{selection.since:%Y-%m}"
    return first and (selection.until is None or file.month <= f"{selection.until:%Y-%m}")


def _rows(base: str, files: list[DatasetFile], expression: object, folder: Path) -> Iterator[Table]:
    for file in files:
        path = local_copy(join(base, file.path), folder)
        yield from selected(path, expression)
        if path.parent == folder:
            path.unlink()


class _Counted:
    """Counts the rows that go by; further views of objects are kept back unless they are asked for."""

    def __init__(self, withdrawn: Collection[str], *, every_view: bool) -> None:
        self.rows, self.kept_back, self._every_view = 0, 0, every_view
        self.of_withdrawn: Counter[str] = Counter()
        """Scene → its rows, of the scenes ``withdrawn``."""
        self._withdrawn = withdrawn

    def through(self, tables: Iterator[Table]) -> Iterator[Table]:
        for table in tables:
            asked = table if self._every_view else primary_alone(table)
            self.rows += len(asked)
            self.kept_back += len(table) - len(asked)
            self.of_withdrawn.update(rows_of(asked, self._withdrawn))
            if len(asked):
                yield asked
