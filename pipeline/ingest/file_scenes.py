"""Files of a listing → scenes, by the rows of the table of layouts or a pattern of the feed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath

from pipeline.errors import ConfigError
from pipeline.ingest.assembly import Mask, with_settings
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.layouts import BAND_ORDERS, LAYOUTS, NO_SCENE, ROWS, Layout
from pipeline.ingest.scene_to_do import SceneToDo, Unusable, hint_of, scene_id_of_key, scene_key
from pipeline.ingest.sentinel2 import product_of_name
from pipeline.ingest.times import moment_in_name
from pipeline.names import listed, quoted, shown
from pipeline.raster.scene_files import OURS
from pipeline.storage.conditional import Listed
from pipeline.storage.paths import join, local_path

COLLECTION = "files"
"""Stands for the collection in keys of scenes that come from folders."""
PLAIN = LAYOUTS["plain-folder"]


@dataclass(slots=True)
class _Group:
    """The files of one scene, as they come."""

    row: Layout
    match: re.Match[str]
    bands: dict[str, list[Listed]] = field(default_factory=dict)
    mask: Listed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A row of the table, and what the groups of its pattern matched."""

    row: Layout
    parts: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a listing says of the files of a scene as they are."""

    marks: tuple[str, ...] = ()
    modified: datetime | None = None
    mask: Mask | None = None


def scenes_of_files(
    feed: FeedConfig, files: Iterable[Listed], read_text: Callable[[str], str | None]
) -> Iterator[SceneToDo | Unusable]:
    """The scenes among the files below the feed's address. ``read_text``: the content of one of them, by its name.

    Raises ConfigError where files are there, and none is a scene by what the feed says of them.
    """
    rows = _rows(feed)
    groups: dict[tuple[str, str], _Group] = {}
    masks: dict[tuple[str, str], Listed] = {}
    count = 0
    for file in files:
        count += 1
        row, match = _recognised(file.name, rows)
        if row is None or match is None:
            masks.update(_mask(file, rows))
            continue
        name = match["scene"]
        group = groups.setdefault((row.name, name), _Group(row=row, match=match))
        group.bands.setdefault(match.groupdict().get("band") or "", []).append(file)
    named = "source.pattern" if feed.source.pattern is not None else f"the layout {feed.source.layout}"
    if count and not groups and named != "the layout auto":
        raise ConfigError(
            f"none of the {count:,} files below {shown(feed.source.address)} is a scene by {named}; check that, and "
            "source.address"
        )
    taken: set[str] = set()
    for (row_name, name), group in groups.items():
        group.mask = masks.get((row_name, name))
        if name in taken:  # by two rows: a plain file beside a product of its name
            name = f"{name} ({group.row.name})"
        taken.add(name)
        yield _scene(feed, name, group, read_text)


def _rows(feed: FeedConfig) -> Sequence[Layout]:
    """Those that the feed's files may be of; a pattern is a row of its own."""
    source = feed.source
    if source.pattern is not None:
        return (replace(PLAIN, name="pattern", files=re.compile(source.pattern)),)
    if source.layout != "auto":
        return (LAYOUTS[source.layout],)
    return tuple(row for row in ROWS if row.files is not None)


def _recognised(name: str, rows: Sequence[Layout]) -> tuple[Layout | None, re.Match[str] | None]:
    """The first row that takes the file for a scene or a band, unless one before owns it as something else.

    No row takes the rasters of our own results: where these lie in the feed, each tick would look at those of the last.
    """
    if PurePosixPath(name).name in OURS:
        return None, None
    for row in rows:
        match = row.files.search(name) if row.files is not None else None
        if match is not None and not (row.name in ("pattern", PLAIN.name) and NO_SCENE.search(name)):
            return row, match
        if row.owns is not None and row.owns.search(name):
            return None, None
    return None, None


def _mask(file: Listed, rows: Sequence[Layout]) -> Iterator[tuple[tuple[str, str], Listed]]:
    """Row and scene that a file says the validity of, and the file."""
    for row in rows:
        match = row.validity_files.search(file.name) if row.validity_files is not None else None
        if match is not None:
            yield (row.name, match["scene"]), file


def _scene(
    feed: FeedConfig, name: str, group: _Group, read_text: Callable[[str], str | None]
) -> SceneToDo | Unusable:  # fmt: skip
    """One scene of its files, or why it is none."""
    key = scene_key(feed.name, COLLECTION, name)
    chosen = _chosen(group, feed.source.bands)
    if isinstance(chosen, str):
        return Unusable(key=key, reason=f"{quoted(name)} {chosen}")
    uris = [join(feed.source.address, file.name) for file in chosen]
    odd = [uri for uri in uris if "," in uri and (len(uris) > 1 or local_path(uri) is None)]
    if odd:
        return Unusable(
            key=key, reason=f"{quoted(name)} has a file with a comma in its name, which joins files: rename it"
        )
    mask = None
    if group.mask is not None:
        mask = Mask(address=join(feed.source.address, group.mask.name), mark=group.mask.version)
    return scene_of_uris(
        feed, key, name, Recognised(row=group.row, parts=group.match.groupdict()), uris,
        State(marks=tuple(file.version for file in chosen), modified=max(file.modified for file in chosen), mask=mask),
        _sidecar(group.row, chosen[0].name, read_text),
    )  # fmt: skip


def scene_of_uris(
    feed: FeedConfig, key: str, name: str, known: Recognised, uris: Sequence[str], state: State, said: str = ""
) -> SceneToDo | Unusable:  # fmt: skip
    """A scene of these files, and what its name and row tell of it. ``said``: what a text file beside it says."""
    parts, row = known.parts, known.row
    dated = parts.get("date")
    acquired = moment_in_name(dated) if dated else None
    if dated and acquired is None:
        return Unusable(key=key, reason=f"{quoted(name)} is dated {quoted(dated)}, which is no date")
    product = product_of_name(PurePosixPath(name).name) if row.radiometry == "sentinel-2" else None
    group_name, rank = parts.get("group"), parts.get("rank") or ""
    if product is not None:
        group_name, rank = product.acquisition, product.rank
    gsd, facts = _told_beside(said) if row.sidecar else (row.gsd_codes.get(parts.get("gsd") or "", row.gsd_m), {})
    scene = SceneToDo(
        key=key, scene_id=scene_id_of_key(key, name), uri=",".join(uris),
        hint=hint_of(updated=None, hrefs=uris, marks=state.marks),
        acquired=acquired, updated=state.modified, gsd_m=gsd,
        sensor=row.sensor or parts.get("sensor"), licence=row.licence,
        offset_dn=0.0 if product is None else product.offset_dn,
        supersedes=None if row.superseding == "never" else group_name, rank=rank,
    )  # fmt: skip
    return with_settings(feed, scene, row, pays=row.requester_pays, mask=state.mask, facts=facts)


def recognised_alone(feed: FeedConfig, name: str) -> Recognised:
    """What the name of a file tells that somebody calls a scene, whatever else lies beside it."""
    for row in _rows(feed):
        match = row.files.search(name) if row.files is not None else None
        if match is not None:
            return Recognised(row=row, parts=match.groupdict())
    return Recognised(row=replace(PLAIN, files=None), parts={})


def _chosen(group: _Group, wanted: tuple[str, ...]) -> list[Listed] | str:
    """The files of a scene in the order of the model's channels, or what is wrong, as the end of a sentence."""
    twice = [files for files in group.bands.values() if len(files) > 1]
    if twice:
        first, second = twice[0][0].name, twice[0][1].name
        return (
            f"is named twice, by {quoted(first)} and {quoted(second)}: keep one, or tell them apart by source.pattern"
        )
    there = {band.lower(): files[0] for band, files in group.bands.items()}
    if set(there) == {""}:
        return [there[""]]
    orders = [wanted] if wanted else list(group.row.bands or BAND_ORDERS)
    for order in orders:
        if all(band.lower() in there for band in order):
            return [there[band.lower()] for band in order]
    nearest = max(orders, key=lambda order: sum(band.lower() in there for band in order))
    lacking = [band for band in nearest if band.lower() not in there]
    if not wanted and len(lacking) == len(nearest):
        if len(there) == 1 and not group.row.bands:  # the only one there will be, as far as anybody knows
            return list(there.values())
        return f"has the bands {listed(sorted(group.bands))}: name those that the model looks at in source.bands"
    return f"lacks {listed(lacking)} (it has {listed(sorted(group.bands))}); it may be arriving still"


def _sidecar(row: Layout, file_name: str, read_text: Callable[[str], str | None]) -> str:
    if not row.sidecar:
        return ""
    path = PurePosixPath(file_name)
    return read_text(str(path.parent.parent / row.sidecar.format(scene=path.stem))) or ""


def _told_beside(text: str) -> tuple[float | None, dict[str, str]]:
    """GSD in metres, and what else is to be recorded, of the first ``key:value`` lines of a text file."""
    lines = dict(line.split(":", 1) for line in text.splitlines()[:5] if ":" in line)
    try:
        gsd = float(lines.get("gsd", ""))
    except ValueError:  # "null" in many of them
        gsd = 0.0
    source = lines.get("imagesource", "").strip()
    return (gsd if 0 < gsd < 1e4 else None), ({"image_source": source} if source else {})
