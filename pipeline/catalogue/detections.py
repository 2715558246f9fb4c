"""All detections as one dataset, kept as results come, change and go: ``OUT/_catalogue/detections/``.

A part for each scene is written beside the others, and then the list of files, ``snapshot.json``, is exchanged: readers
see all of an update or nothing of it. Who finds that somebody was faster, or that a file is gone that was on the list,
begins again with what is there now; what it wrote in vain has the same name the next time, or is swept after a day.
"""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.catalogue.compaction import compact
from pipeline.catalogue.results import Published
from pipeline.catalogue.scene_lists import SceneLists, one_pass
from pipeline.catalogue.scene_rows import SceneRows, rows_version, scene_rows
from pipeline.catalogue.snapshot import (
    PART,
    DatasetFile,
    Snapshot,
    files_of,
    folder_of,
    put_in_place,
    read_snapshot,
    still_listed,
    swapped,
    sweep,
)
from pipeline.catalogue.turns import turns
from pipeline.catalogue.verdicts import new_verdicts
from pipeline.errors import ConfigError, redacted
from pipeline.outputs.dataset import DatasetWriter, Verdict, Written, read_rows, rewritten
from pipeline.outputs.dataset_views import VIEW_COLUMNS, ViewRows, view_rows
from pipeline.outputs.scene_index import SceneEntry
from pipeline.storage.clients import translated
from pipeline.storage.moving import local_copy
from pipeline.storage.paths import join

SAME_PASS_S = 60.0
"""Default of ``merge.same_pass_s``."""
SCENES_AT_ONCE, ROWS_AT_ONCE = 256, 2_000_000
"""Of one exchange of the snapshot: they bound its memory, and what somebody faster lets one do in vain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """What an update came to."""

    added: tuple[str, ...] = ()
    """Scenes."""
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    rows: int = 0
    """Of scenes that were added or replaced."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Scenes among the added and replaced whose detections have no place in the dataset, and why."""

    def __add__(self, other: Updated) -> Updated:
        return Updated(
            added=self.added + other.added, replaced=self.replaced + other.replaced,
            removed=self.removed + other.removed, rows=self.rows + other.rows, left_out=self.left_out + other.left_out,
        )  # fmt: skip


def update(
    out_uri: str, results: Iterable[Published], gone: Collection[str] = (), *, same_pass_s: float = SAME_PASS_S
) -> Updated:
    """Bring the dataset of ``out_uri`` to what ``results`` are now, and take out the scenes ``gone``.

    Results that are in it already cost a look at the lists of scenes. A scene's old rows go and its new ones come in
    one step; the objects of all scenes of its pass are settled in the same step. Then parts that are many enough are
    compacted, and files that left the list removed. Raises ConfigError when the dataset was made with
    another ``same_pass_s``, StorageError when the store fails or others write without end.
    """
    if not 0 <= same_pass_s < math.inf:
        raise ConfigError(f"--merge.same_pass_s must be seconds from 0 on, not {same_pass_s:g}")
    done, leaving = Updated(), set(gone)
    what = f"cannot put together the detections of {redacted(out_uri)}"
    with translated(what), tempfile.TemporaryDirectory(prefix="kestrel-") as folder:
        for batch in _batches(results):
            leaving -= batch.keys()
            done += _committed(out_uri, batch, leaving, same_pass_s, Path(folder))
            leaving = set()
        if leaving:
            done += _committed(out_uri, {}, leaving, same_pass_s, Path(folder))
        if done != Updated():
            compact(out_uri)
        sweep(out_uri)  # also where nothing changed: who was killed left its replaced files
    return done


def _batches(results: Iterable[Published]) -> Iterator[dict[str, Published]]:
    batch: dict[str, Published] = {}
    rows = 0
    for result in results:
        batch[result.scene_id] = result
        rows += int(result.record.get("detections") or 0)
        if len(batch) >= SCENES_AT_ONCE or rows >= ROWS_AT_ONCE:
            yield batch
            batch, rows = {}, 0
    if batch:
        yield batch


def _committed(
    out_uri: str, batch: Mapping[str, Published], gone: Collection[str], same_pass_s: float, folder: Path
) -> Updated:
    """One exchange of the snapshot, tried until nobody is faster."""
    made: dict[str, SceneRows] = {}
    for _ in turns(folder_of(out_uri)):
        snapshot, version = read_snapshot(out_uri) or (Snapshot(same_pass_s=same_pass_s), None)
        if snapshot.same_pass_s != same_pass_s:
            raise ConfigError(
                f"the detections of {redacted(out_uri)} were put together with --merge.same_pass_s "
                f"{snapshot.same_pass_s:g}, not {same_pass_s:g}: say the same, or remove "
                f"{redacted(folder_of(out_uri))} to put them together anew"
            )
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            edit = _Edit(out_uri, snapshot, Path(scratch))
            try:
                done = edit.apply(batch, gone, made, folder)
            except OSError:
                if still_listed(out_uri, snapshot.paths):
                    raise
                continue
            if done is None:
                return Updated()
            if swapped(out_uri, edit.snapshot, version):
                for one in made.values():
                    if one.path is not None:
                        one.path.unlink(missing_ok=True)
                return done
    raise AssertionError("turns end by themselves")


class _Edit:
    """One snapshot on its way to the next."""

    def __init__(self, out_uri: str, snapshot: Snapshot, scratch: Path) -> None:
        self.snapshot = snapshot
        self._base, self._scratch = folder_of(out_uri), scratch
        self._lists = SceneLists(out_uri, snapshot, scratch)
        self._copies: dict[str, Path] = {}

    def apply(
        self, batch: Mapping[str, Published], gone: Collection[str], made: dict[str, SceneRows], folder: Path
    ) -> Updated | None:
        """Make the next snapshot and write its files; None when nothing changes.

        ``made`` keeps in ``folder`` what was made of results, for another turn.
        """
        old = self._lists.find({*batch, *gone})
        versions = {name: entry.version for name, entry in old.items()}
        fresh = [result for name, result in batch.items() if versions.get(name) != rows_version(result.version)]
        for result in fresh:
            if result.scene_id not in made:
                made[result.scene_id] = scene_rows(result, folder)
        new = {result.scene_id: made[result.scene_id] for result in fresh}
        dropped = {name: entry for name, entry in old.items() if name in new or name in gone}
        if not new and not dropped:
            return None
        entries = {name: one.entry for name, one in new.items()}
        same_pass_s = self.snapshot.same_pass_s
        beside = self._lists.same_passes([*entries.values(), *dropped.values()], same_pass_s, {*new, *dropped})
        verdicts = self._verdicts(new, beside)
        changed: dict[str, SceneEntry | None] = dict.fromkeys(dropped)
        files = self._kept_files(dropped, [entry for entry in beside if entry.scene_id in verdicts], verdicts, changed)
        for name, one in new.items():
            changed[name] = one.entry
            if one.path is not None and one.written is not None:
                added = self._part(one.entry, one.path, one.written, verdicts)
                files.append(added)
                changed[name] = replace(one.entry, file=added.path)
        self.snapshot = self.snapshot.following(files, self._lists.changed(changed))
        return Updated(
            added=tuple(name for name in new if name not in old), replaced=tuple(name for name in new if name in old),
            removed=tuple(sorted(dropped.keys() - new.keys())), rows=sum(entry.rows for entry in entries.values()),
            left_out=tuple((name, entry.left_out) for name, entry in entries.items() if entry.left_out),
        )  # fmt: skip

    def _verdicts(self, new: Mapping[str, SceneRows], beside: list[SceneEntry]) -> dict[str, dict[str, Verdict]]:
        """Of the new scenes and of those beside them, where they are other than what stands in their files."""
        same_pass_s = self.snapshot.same_pass_s
        candidates = [*(one.entry for one in new.values()), *beside]
        entries = [
            entry
            for entry in candidates
            if entry.scene_id not in new or any(one_pass(entry, other, same_pass_s) for other in candidates)
        ]
        rows: dict[str, ViewRows] = {}
        for entry in entries:
            own = new[entry.scene_id].path if entry.scene_id in new else None
            paths = [own] if own is not None else [self._path(one) for one in files_of(entry, self.snapshot)]
            if paths:
                rows[entry.scene_id] = view_rows(read_rows(paths, {entry.scene_id}, VIEW_COLUMNS))
        return new_verdicts(entries, rows, same_pass_s)

    def _kept_files(
        self,
        dropped: Mapping[str, SceneEntry],
        judged: list[SceneEntry],
        verdicts: Mapping[str, Mapping[str, Verdict]],
        changed: dict[str, SceneEntry | None],
    ) -> list[DatasetFile]:
        """The files of the snapshot, those written anew that hold rows which go or get another verdict.

        ``changed`` is told where parts of judged scenes lie now.
        """
        without = {one.path for entry in dropped.values() for one in files_of(entry, self.snapshot)}
        owners = {entry.file: entry for entry in judged if entry.file}
        touched = without | {one.path for entry in judged for one in files_of(entry, self.snapshot)}
        files = []
        for file in self.snapshot.files:
            if file.path not in touched:
                files.append(file)
            elif not (file.tier == PART and file.path in without):
                again = self._rewritten(file, self._path(file), set(dropped), verdicts)
                files += [] if again is None else [again]
                if again is not None and file.path in owners:
                    owner = owners[file.path]
                    changed[owner.scene_id] = replace(owner, file=again.path)
        return files

    def _part(
        self, entry: SceneEntry, path: Path, written: Written, verdicts: Mapping[str, Mapping[str, Verdict]]
    ) -> DatasetFile:
        """The part of a new scene, in its place."""
        file = DatasetFile(
            path="", rows=0, bytes=0, bbox=(0, 0, 0, 0), kinds=(), tier=PART, model=entry.model_id, month=entry.month
        )
        if entry.scene_id in verdicts:
            again = self._rewritten(file, path, set(), {entry.scene_id: verdicts[entry.scene_id]})
            assert again is not None, "no row goes"
            return again
        return put_in_place(self._base, file, path, written, self.snapshot.retired)

    def _rewritten(
        self, file: DatasetFile, path: Path, dropped: set[str], verdicts: Mapping[str, Mapping[str, Verdict]]
    ) -> DatasetFile | None:
        target = self._scratch / f"{uuid.uuid4().hex}.parquet"
        with DatasetWriter(target) as writer:
            for rows in rewritten(path, dropped, verdicts):
                writer.write(rows)
        written, retired = writer.written, self.snapshot.retired
        placed = put_in_place(self._base, file, target, written, retired) if written.rows else None
        target.unlink()
        return placed

    def _path(self, file: DatasetFile) -> Path:
        if file.path not in self._copies:
            self._copies[file.path] = local_copy(join(self._base, file.path), self._scratch)
        return self._copies[file.path]
