"""Which files are the dataset of detections now: ``snapshot.json``, exchanged in one write.

Readers take the files that it lists and no others: what lies beside them is on its way in or out. Files are never
changed; their names tell their content. A file that leaves the list stays for a day, for readers that are at work.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.errors import ConfigError, redacted
from pipeline.outputs.dataset import Written
from pipeline.outputs.scene_index import Bounds, SceneEntry
from pipeline.storage.conditional import create_if_absent, list_objects, read_versioned, replace_if_unchanged
from pipeline.storage.files import remove_file
from pipeline.storage.moving import put_file
from pipeline.storage.paths import join

CATALOGUE, DETECTIONS, SNAPSHOT, SCENES = "_catalogue", "detections", "snapshot.json", "_scenes"
FORMAT = 1
PART, COMPACTED = "part", "compacted"
TURNS, PAUSE_S = 30, 0.2
"""Attempts against writers that are faster, and the mean pause after the first of them."""
KEPT = timedelta(days=1)
"""How long a file stays that is not, or no longer, in the snapshot."""


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
        return replace(after, retired=retired | dict.fromkeys(sorted(left), now.isoformat(timespec="seconds")))


def folder_of(out_uri: str) -> str:
    """Where the dataset of an output folder lies."""
    return join(out_uri, CATALOGUE, DETECTIONS)


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
                f"{redacted(address)} has format {known['format']}, and this version of Kestrel knows {FORMAT} only"
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
    if version is None:
        return create_if_absent(address, data) is not None
    return replace_if_unchanged(address, data, version) is not None


def sweep(out_uri: str, now: datetime | None = None) -> int:
    """Remove files that are in no snapshot for a day, or never came to be in one; how many. Raises StorageError."""
    base, now = folder_of(out_uri), now or datetime.now(UTC)
    listed = list(list_objects(base))  # before the snapshot is read: what is written from now on is in neither
    there = read_snapshot(out_uri)
    if there is None:
        return 0
    snapshot = there[0]
    keep, removed = snapshot.paths | {SNAPSHOT}, 0
    for one in listed:
        since = snapshot.retired.get(one.name)
        unused = datetime.fromisoformat(since) if since else one.modified
        if one.name.endswith(".parquet") and one.name not in keep and max(unused, one.modified) < now - KEPT:
            remove_file(join(base, one.name))
            removed += 1
    return removed


def put_in_place(base: str, file: DatasetFile, path: Path, written: Written) -> DatasetFile:
    """A local file at its place in the dataset ``base``, named after its content; ``file`` says whose it is."""
    assert written.bbox is not None, "a file without rows has no place"
    name = f"{partition(file.model, file.month)}/part-{written.digest[:16]}.parquet"
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
