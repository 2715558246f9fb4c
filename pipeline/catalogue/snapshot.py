"""Which files are the dataset of detections now: ``snapshot.json``, exchanged in one write.

Readers take the files that it lists and no others: what lies beside them is on its way in or out. Files are never
changed; their names tell their content, and none that has left the list is used again. Many readers take all files
there are, though, with a glob: so nothing else lies in the folder, and detections that leave the list go at once. Rows
that count twice are told by nobody; a reader at work that finds a file gone says so, and begins again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.catalogue.turns import CATALOGUE
from pipeline.errors import ConfigError, redacted
from pipeline.outputs.dataset import Written
from pipeline.outputs.scene_index import Bounds, SceneEntry
from pipeline.storage.conditional import Listed, exchange, list_objects, read_versioned
from pipeline.storage.files import remove_file
from pipeline.storage.moving import put_file
from pipeline.storage.paths import join

DETECTIONS, SNAPSHOT, SCENES = "detections", "snapshot.json", "scenes"
FORMAT = 1
PART, COMPACTED = "part", "compacted"
KEPT = timedelta(days=1)
"""How long a file stays that may come to be in the snapshot, and a list of scenes that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFile:
    """A file of the dataset."""

    path: str
    """Relative to the folder of the snapshot."""
    rows: int
    bytes: int
    bbox: Bounds
    """Of its boxes: west, south, east, north."""
    kinds: tuple[str, ...]
    """Geometry types."""
    tier: str
    """``part``: one scene; ``compacted``: many, along the Hilbert curve."""
    model: str
    month: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneList:
    """The file that lists the scenes of one month; see :class:`pipeline.outputs.scene_index.SceneEntry`."""

    path: str
    """Relative to the folder of the catalogue."""
    scenes: int
    left_out: int
    """Of these, scenes whose detections are not in the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The dataset at one moment."""

    same_pass_s: float
    files: tuple[DatasetFile, ...] = ()
    scenes: Mapping[str, SceneList] = field(default_factory=dict)
    """Month → its scenes."""
    retired: Mapping[str, str] = field(default_factory=dict)
    """Path of a file that was listed → since when it is not, ISO 8601."""

    @property
    def paths(self) -> set[str]:
        """Every file that is in use."""
        return {one.path for one in self.files} | {one.path for one in self.scenes.values()}

    def following(self, files: Iterable[DatasetFile], scenes: Mapping[str, SceneList]) -> Snapshot:
        """The next snapshot, of these files and scenes; what is no longer among them is retired now."""
        ordered = tuple(sorted(files, key=lambda one: one.path))
        after = replace(self, files=ordered, scenes=dict(sorted(scenes.items())))
        left, now = self.paths - after.paths, datetime.now(UTC)
        # What is older is swept, or will be for its own age.
        recent = (now - 2 * KEPT).isoformat(timespec="seconds")
        retired = {path: since for path, since in self.retired.items() if path not in after.paths and since > recent}
        return replace(after, retired=retired | dict.fromkeys(sorted(left), now.isoformat()))


def folder_of(out_uri: str) -> str:
    """Where the dataset of an output folder lies."""
    return join(out_uri, CATALOGUE, DETECTIONS)


def catalogue_of(out_uri: str) -> str:
    """Where the catalogue of an output folder lies, and in it the lists of scenes."""
    return join(out_uri, CATALOGUE)


def partition(model: str, month: str) -> str:
    """The folder of a model's detections in a month, relative to the dataset."""
    return f"model={quote(model, safe='@')}/month={month}"


def read_snapshot(out_uri: str) -> tuple[Snapshot, str | None] | None:
    """The dataset of an output folder and its version; None where there is none yet.

    Raises ConfigError for one that another version of Kestrel wrote, StorageError.
    """
    address = join(folder_of(out_uri), SNAPSHOT)
    there = read_versioned(address)
    if there is None:
        return None
    try:
        known = json.loads(there.content)
        if known["format"] != FORMAT:
            raise ConfigError(
                f"{redacted(address)} has format {known['format']}, and this version of Kestrel knows {FORMAT} only: "
                f"remove the folder {DETECTIONS} that holds it, and kestrel collect makes it anew"
            )
        files = [{**one, "bbox": tuple(one["bbox"]), "kinds": tuple(one["kinds"])} for one in known["files"]]
        snapshot = Snapshot(
            same_pass_s=float(known["same_pass_s"]),
            files=tuple(DatasetFile(**one) for one in files),
            scenes={month: SceneList(**one) for month, one in known["scenes"].items()},
            retired=dict(known["retired"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{redacted(address)} is damaged: remove the folder {DETECTIONS} that holds it, and kestrel collect makes "
            "it anew"
        ) from error
    return snapshot, there.version


def swapped(out_uri: str, snapshot: Snapshot, version: str | None) -> bool:
    """Write the snapshot in place of that of ``version`` (None: of none); False when somebody was faster."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "token": uuid.uuid4().hex,  # two writers never write the same
        "rows": sum(one.rows for one in snapshot.files),
        **asdict(snapshot),
    }
    data = (json.dumps(content, indent=1) + "\n").encode()
    address = join(folder_of(out_uri), SNAPSHOT)
    return exchange(address, data, version) is not None


def still_listed(out_uri: str, paths: Collection[str]) -> bool:
    """Whether the snapshot lists all of these, so that none has gone because of a writer. Raises StorageError."""
    there = read_snapshot(out_uri)
    return not paths or (there is not None and there[0].paths.issuperset(paths))


def sweep(out_uri: str, now: datetime | None = None) -> int:
    """Remove files of detections that have left the snapshot, and others that are in none for a day; how many.

    Raises StorageError.
    """
    now = now or datetime.now(UTC)
    listed = [  # before the snapshot is read: what is written from now on is in neither
        *((join(DETECTIONS, one.name), one.name, one.modified) for one in list_objects(folder_of(out_uri))),
        *((join(SCENES, one.name), join(SCENES, one.name), one.modified) for one in _scene_lists(out_uri)),
    ]
    there = read_snapshot(out_uri)
    if there is None:
        return 0
    snapshot = there[0]
    removed = 0
    for place, name, modified in listed:
        if not name.endswith(".parquet") or name in snapshot.paths:
            continue
        since = snapshot.retired.get(name)
        left = None if since is None else datetime.fromisoformat(since)
        replaced = left is not None and not name.startswith(f"{SCENES}/")
        if replaced or max(left or modified, modified) < now - KEPT:
            remove_file(join(catalogue_of(out_uri), place))
            removed += 1
    return removed


def _scene_lists(out_uri: str) -> Iterator[Listed]:
    return list_objects(join(catalogue_of(out_uri), SCENES))


def fresh_name(name: str, retired: Collection[str]) -> str:
    """``name``, or where a file of this name has left the list one after it: somebody may be about to remove that."""
    stem = name.removesuffix(".parquet")
    names = (name, *(f"{stem}-{number}.parquet" for number in range(2, len(retired) + 3)))
    return next(one for one in names if one not in retired)


def put_in_place(
    base: str, file: DatasetFile, path: Path, written: Written, retired: Collection[str]
) -> DatasetFile:  # fmt: skip
    """A local file at its place in the dataset ``base``, named after its content; ``file`` says whose it is.

    ``retired``: of the snapshot that it is to come into.
    """
    assert written.bbox is not None, "a file without rows has no place"
    name = fresh_name(f"{partition(file.model, file.month)}/part-{written.digest[:16]}.parquet", retired)
    put_file(path, join(base, name))
    return replace(file, path=name, rows=written.rows, bytes=written.bytes, bbox=written.bbox, kinds=written.kinds)


def meets(one: Bounds, other: Bounds) -> bool:
    """Whether two boxes of longitudes and latitudes have a point in common."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def files_of(entry: SceneEntry, snapshot: Snapshot) -> list[DatasetFile]:
    """The files that hold, or may hold, the rows of a scene."""
    bounds = entry.bounds
    if bounds is None:
        return []
    if entry.file:
        return [one for one in snapshot.files if one.path == entry.file]
    return [
        one
        for one in snapshot.files
        if one.tier == COMPACTED and (one.model, one.month) == (entry.model_id, entry.month) and meets(one.bbox, bounds)
    ]
