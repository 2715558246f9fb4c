"""FEED.yaml: where scenes arrive, which of them are wanted, and how they are detected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, get_args

import yaml

from pipeline.command_line import known_keys, run_from
from pipeline.config.checks import require
from pipeline.errors import ConfigError
from pipeline.georeference.area_files import box_in_degrees
from pipeline.ingest.layouts import LAYOUTS
from pipeline.ingest.times import end_of, moment
from pipeline.names import complaint, near_names, quoted, shown
from pipeline.storage.files import read_file

Kind = Literal["folder", "list", "static-stac", "stac-api", "stac-geoparquet"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
INGEST_SETS = ("scene", "out", "scene_id", "dry_run", "start_from", "force", "clean", "log")
"""Keys of a run that ``kestrel ingest`` gives itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where scenes arrive."""

    kind: Kind
    address: str
    """A folder or prefix, a text file, a catalogue, an API, or a table; local, or any address that fsspec knows."""
    layout: str = "auto"
    """How files and items are named there, see :data:`pipeline.ingest.layouts.LAYOUTS`; ``auto`` recognises them."""
    pattern: str | None = None
    """Of a folder without a layout: regular expression over names below the address, with a group ``scene``, and
    perhaps ``band`` and ``date``."""
    bands: tuple[str, ...] = ()
    """What the model is shown: values of the group ``band``, or keys of assets, in its order. Default: red, green and
    blue, as the layout calls them."""
    collections: tuple[str, ...] = ()
    """Of a catalogue: only these."""
    page_size: int = 100
    """Items asked of an API at a time."""
    max_items: int = 1_000_000
    """A catalogue that holds more is refused, and so is one without an end."""

    def __post_init__(self) -> None:
        require(
            self.kind in get_args(Kind), f"source.kind must be {' or '.join(get_args(Kind))}, not {quoted(self.kind)}"
        )
        reason = complaint(self.address) if self.address.strip() else "it is empty"
        require(reason is None, f"source.address {shown(self.address)} is refused: {reason}")
        names = ["auto", *LAYOUTS]
        require(
            self.layout in names,
            f"source.layout {quoted(self.layout)} is unknown; "
            f"{_hint(self.layout, names) or 'known are ' + ', '.join(names)}",
        )
        if self.pattern is not None:
            _check_pattern(self.pattern)
            require(self.kind == "folder", "source.pattern is for kind: folder")
            require(self.layout == "auto", "give source.pattern or source.layout, not both")
        require(1 <= self.page_size <= 10_000, "source.page_size must be 1 to 10000")
        require(self.max_items >= 1, "source.max_items must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which scenes are wanted. Scenes that do not tell what is asked for are."""

    since: datetime | None = None
    """Taken at or after; a time without a zone is UTC."""
    until: datetime | None = None
    """Taken at or before; a day includes all of itself."""
    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees; west > east across the antimeridian."""
    area: str | None = None
    """A vector file whose polygons the scene must touch."""
    cloud_cover: float | None = None
    """At most so many percent."""
    gsd_m: tuple[float, float] | None = None
    """Ground sample distance from, to; metres."""

    def __post_init__(self) -> None:
        require(self.bbox is None or self.area is None, "give filter.bbox or filter.area, not both")
        require(
            self.since is None or self.until is None or self.since <= self.until,
            "filter.since is later than filter.until",
        )
        require(
            self.cloud_cover is None or 0 <= self.cloud_cover <= 100, "filter.cloud_cover must be in [0, 100] percent"
        )
        if self.bbox is not None:
            box_in_degrees(",".join(map(repr, self.bbox)))
        if self.gsd_m is not None:
            least, most = self.gsd_m
            require(0 <= least <= most and most > 0, "filter.gsd_m must be metres, at most, or [at least, at most]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedConfig:
    """A feed file, read and checked."""

    name: str
    source: Source
    filter: Filter = field(default_factory=Filter)
    run: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys of RunConfig, with their values as written: ``{"weights": …, "detector.batch": 8}``."""


def read_feed(uri: str) -> FeedConfig:
    """The feed file at ``uri``. Raises ConfigError for what is wrong with it, StorageError for a store that fails."""
    reason = complaint(uri)
    if reason is not None:
        raise ConfigError(f"the feed file {shown(uri)} is refused: {reason}")
    data = read_file(uri)
    if data is None:
        raise ConfigError(f"there is no feed file at {shown(uri)}")
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45, or bytes that are no text
        raise ConfigError(
            f"the feed file {shown(uri)} is not valid YAML: {shown(' '.join(str(error).split()))}"
        ) from error
    try:
        return feed_of(content)
    except ConfigError as error:
        raise ConfigError(f"the feed file {shown(uri)}: {error}") from error


def feed_of(content: Any) -> FeedConfig:
    """A feed of what its YAML says. Raises ConfigError."""
    top = _section(content, "", [one.name for one in fields(FeedConfig)])
    name = top.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError("name must be given: letters, digits, dots, dashes and underscores, at most 64")
    if "source" not in top:
        raise ConfigError("source must be given: {kind: …, address: …}")
    return FeedConfig(name=name, source=_source(top["source"]), filter=_filter(top.get("filter")),
                      run=_run(top.get("run")))  # fmt: skip


def _source(content: Any) -> Source:
    given = _section(content, "source", [one.name for one in fields(Source)])
    for key in ("kind", "address"):
        if not isinstance(given.get(key), str):
            raise ConfigError(f"source.{key} must be given, as text")
    values = dict(given)
    for key in ("layout", "pattern"):
        if given.get(key) is not None:
            values[key] = _text(given[key], f"source.{key}")
    for key in ("bands", "collections"):
        values[key] = _texts(given.get(key), f"source.{key}")
    for key in ("page_size", "max_items"):
        if key in given:
            values[key] = _number(given[key], f"source.{key}", whole=True)
    return Source(**{key: value for key, value in values.items() if value is not None})


def _filter(content: Any) -> Filter:
    given = _section(content, "filter", [one.name for one in fields(Filter)])
    values: dict[str, Any] = {}
    for key, read in (("since", moment), ("until", end_of)):
        if given.get(key) is not None:
            values[key] = read(given[key])
            require(values[key] is not None, f"filter.{key} {quoted(given[key])} is no date, and no time")
    if given.get("bbox") is not None:
        values["bbox"] = _numbers(given["bbox"], "filter.bbox", 4)
    if given.get("area") is not None:
        values["area"] = _text(given["area"], "filter.area")
    if given.get("cloud_cover") is not None:
        values["cloud_cover"] = _number(given["cloud_cover"], "filter.cloud_cover")
    if given.get("gsd_m") is not None:
        one = given["gsd_m"]
        values["gsd_m"] = _numbers(one if isinstance(one, list) else [0.0, one], "filter.gsd_m", 2)
    return Filter(**values)


def _run(content: Any) -> dict[str, Any]:
    """Dotted keys, checked as ``--config`` checks them."""
    given = dict(_flat(_section(content, "run", None)))
    allowed = [key for key in known_keys() if key not in INGEST_SETS]
    for key in given:
        if key in INGEST_SETS:
            raise ConfigError(f"run.{key} is set by the ingestion itself; leave it out")
        if key not in allowed:
            raise ConfigError(f"unknown key {quoted(f'run.{key}')}; {_hint(key, allowed) or _ALL}")
    run_from(given)
    return given


_ALL = "kestrel detect --help all lists every key"


def _flat(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _section(content: Any, name: str, known: list[str] | None) -> dict[str, Any]:
    """Keys and values of one section, all of them ``known``; empty where there is none."""
    if content is None and name:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{name or 'it'} must hold keys and values")
    for key in content:
        if known is not None and key not in known:
            full = f"{name}.{key}" if name else str(key)
            raise ConfigError(
                f"unknown key {quoted(full)}; {_hint(str(key), known) or 'known are ' + ', '.join(known)}"
            )
    return content


def _hint(name: str, known: list[str]) -> str:
    near = near_names(name, known)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} must be text, not {quoted(value)}")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not (value is None or (isinstance(value, list) and all(isinstance(one, str) and one for one in value))):
        raise ConfigError(f"{name} must be a list of texts, as in [a, b]")
    return tuple(value or ())


def _number(value: Any, name: str, *, whole: bool = False) -> Any:
    kinds: Any = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or value != value:
        raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number, not {quoted(value)}")
    return value if whole else float(value)


def _numbers(value: Any, name: str, count: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise ConfigError(f"{name} must be a list of {count} numbers")
    return tuple(_number(one, name) for one in value)


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ConfigError(f"source.pattern {quoted(pattern)} is no regular expression: {error}") from error
    require("scene" in groups, f"source.pattern {quoted(pattern)} has no group (?P<scene>…), which tells scenes apart")
