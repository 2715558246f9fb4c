"""The scenes of the dataset, month by month: who is in it, who was taken at the same time."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from pipeline.catalogue.snapshot import SCENES, SceneList, Snapshot, catalogue_of, fresh_name, meets
from pipeline.outputs.scene_index import (
    ListWritten,
    SceneEntry,
    read_scenes,
    read_scenes_at,
    read_versions,
    write_changed,
    write_compacted,
)
from pipeline.outputs.times import month_at
from pipeline.storage.moving import local_copy, put_file
from pipeline.storage.paths import join


class SceneLists:
    """The lists of one snapshot; copies of remote ones are kept in a folder for as long as it is there."""

    def __init__(self, out_uri: str, snapshot: Snapshot, folder: Path) -> None:
        self._base, self._lists, self._folder = catalogue_of(out_uri), snapshot.scenes, folder
        self._retired = snapshot.retired
        self._copies: dict[str, Path] = {}

    def find(self, scene_ids: Collection[str]) -> dict[str, SceneEntry]:
        """The entries of these scenes, those that there are."""
        found: list[SceneEntry] = []
        for month in self._lists if scene_ids else ():
            if len(found) < len(scene_ids):
                found += read_scenes(self._path(month), scene_ids)
        return {entry.scene_id: entry for entry in found}

    def versions(self) -> dict[str, str]:
        """scene_id → version of its rows, of all scenes."""
        return {name: version for month in self._lists for name, version in read_versions(self._path(month))}

    def same_passes(
        self, touched: Iterable[SceneEntry], same_pass_s: float, without: Collection[str]
    ) -> list[SceneEntry]:
        """Every scene that is of one pass with a touched one, or with one that is, and so on; none of ``without``."""
        found: dict[str, SceneEntry] = {}
        frontier = [entry for entry in touched if entry.acquired_s is not None]
        while frontier:
            times = np.sort([entry.acquired_s for entry in frontier if entry.acquired_s is not None])
            months = {month_at(second + shift) for second in times for shift in (-same_pass_s, 0.0, same_pass_s)}
            around = [
                entry
                for month in sorted(months & set(self._lists))
                for entry in read_scenes_at(self._path(month), times, same_pass_s)
                if entry.scene_id not in found and entry.scene_id not in without
            ]
            frontier = [entry for entry in around if any(one_pass(entry, near, same_pass_s) for near in frontier)]
            found |= {entry.scene_id: entry for entry in frontier}
        return [found[scene_id] for scene_id in sorted(found)]

    def changed(self, entries: Mapping[str, SceneEntry | None]) -> dict[str, SceneList]:
        """The lists with some scenes exchanged (None: gone), those that change written to new files."""
        new = [entry for entry in entries.values() if entry is not None]
        lists = dict(self._lists)
        for month in sorted({entry.month for entry in new} | set(self._lists)):
            there = self._lists.get(month)
            additions = [entry for entry in new if entry.month == month]
            if there is not None and not additions and not read_scenes(self._path(month), entries.keys()):
                continue
            here = dict.fromkeys(entries) | {entry.scene_id: entry for entry in additions}
            path = self._new_path()
            written = write_changed(self._path(month) if there is not None else None, path, here)
            if written.scenes:
                lists[month] = self._placed(month, path, written)
            else:
                lists.pop(month, None)
        return lists

    def compacted(self, month: str, paths: Collection[str]) -> dict[str, SceneList]:
        """The lists after the parts ``paths`` of a month were compacted."""
        path = self._new_path()
        return {**self._lists, month: self._placed(month, path, write_compacted(self._path(month), path, paths))}

    def _path(self, month: str) -> Path:
        path = self._lists[month].path
        if path not in self._copies:
            self._copies[path] = local_copy(join(self._base, path), self._folder)
        return self._copies[path]

    def _new_path(self) -> Path:
        return self._folder / f"{uuid.uuid4().hex}.parquet"

    def _placed(self, month: str, path: Path, written: ListWritten) -> SceneList:
        name = fresh_name(f"{SCENES}/month={month}/scenes-{written.digest[:16]}.parquet", self._retired)
        put_file(path, join(self._base, name))
        return SceneList(path=name, scenes=written.scenes, left_out=written.left_out)


def one_pass(one: SceneEntry, other: SceneEntry, same_pass_s: float) -> bool:
    """Whether two scenes may show the same objects: one sensor and one detector, at about one time, of one place."""
    if one.acquired_s is None or other.acquired_s is None or one.bounds is None or other.bounds is None:
        return False
    return (
        one.scene_id != other.scene_id
        and (one.sensor, one.model_id) == (other.sensor, other.model_id)
        and abs(one.acquired_s - other.acquired_s) <= same_pass_s
        and meets(one.bounds, other.bounds)
    )
