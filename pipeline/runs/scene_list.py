"""Names of scenes as people give them (files, folders, patterns, lists of them) → one address a scene."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.config import RasterConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.names import complaint, is_virtual, path_part, shown
from pipeline.raster.addresses import origin_of, split_uris
from pipeline.raster.scene_files import OTHER, RASTERS, SIDECAR, is_product, why_no_scene
from pipeline.reporting.journal import Journal
from pipeline.storage.listing import files_below, files_matching, fixed_part, is_pattern, kind_of, read_lines
from pipeline.storage.paths import is_local, join, local_path

LIST = "@"
"""What the name of a list of scenes begins with."""
COMMENT = "#"
"""What a line begins with that names nothing."""
NAMED = 3
"""Places that the sentence names."""
AGAIN = "named more than once"
ODD = "names that no address may have, for their , ? or #"


def with_scenes_listed(config: RunConfig, journal: Journal) -> RunConfig:
    """The same run with one address a scene: what each folder, pattern and list of ``config.scene`` names.

    Names keep their order; what is found by one stands in the order of its letters. A scene that was found and is named
    once more is done once. What was found and is no scene is left out, counted by its kind, and said in one line.
    Raises ConfigError for a name under which there is no scene, StorageError when a store cannot be listed.
    """
    search = Search(raster=config.raster)
    for name in config.scene:
        search.take(name)
    if not search.places:
        return config
    facts = {"scenes": len(search.scenes), "left_out": dict(search.left_out)}
    journal.emit("scenes_listed", search.sentence(), **facts)
    return replace(config, scene=tuple(search.scenes))


@dataclass(kw_only=True, eq=False, slots=True)
class Search:
    """What was found so far."""

    raster: RasterConfig
    scenes: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """Folders, patterns and lists that were looked through."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Kind of file → how many."""
    first: dict[str, str] = field(default_factory=dict)
    """Kind → the first of it, by its name where it was found."""
    named: dict[tuple[str, ...], bool] = field(default_factory=dict)
    """Where a scene comes from → whether its own name was given."""

    def take(self, name: str) -> None:
        """The scenes of one name of the command line."""
        if name.startswith(LIST) and not (is_local(name) and kind_of(name) == "file"):
            self.places.append(name)
            lines = list(listed_names(name.removeprefix(LIST), pays=self.raster.requester_pays))
            if not lines:
                raise ConfigError(f"the list {shown(name)} names no scene; write one address a line")
            for line in lines:
                self._take(line)
        else:
            self._take(name, own=True)

    def sentence(self) -> str:
        """What was found where, and what was left out, on one line."""
        left = f"; left out: {_kinds(self.left_out, self.first)}" if self.left_out else ""
        more = f" and {len(self.places) - NAMED} more" if len(self.places) > NAMED else ""
        return f"{len(self.scenes)} scenes, of {', '.join(map(shown, self.places[:NAMED]))}{more}{left}"

    def _take(self, name: str, *, own: bool = False) -> None:
        """``own``: given by itself, where two of the same are a mistake and nothing to pass over."""
        found = found_at(name, pays=self.raster.requester_pays)
        if found is None:
            self._add(name, own=own)
            return
        self.places.append(name)
        reasons = why_no_scene(found, allow_vrt=self.raster.allow_vrt)
        if not is_local(name):
            odd = {one: ODD for one, reason in reasons.items() if reason is None and set(one) & set(",?#")}
            reasons |= odd
        kinds = Counter(reason for reason in reasons.values() if reason is not None)
        first = {reason: one for one, reason in reversed(reasons.items()) if reason is not None}
        if len(reasons) == kinds.total():
            beside = f", only {_kinds(kinds, first)}" if kinds else ""
            raise ConfigError(
                f"there is no scene in {shown(name)}{beside}; what is found is a scene when it ends in "
                f"{', '.join(RASTERS)}, and any file can be named by itself"
            )
        self.left_out.update(kinds)
        self.first = first | self.first
        for one, reason in reasons.items():
            if reason is None:
                self._add(found[one])

    def _add(self, name: str, *, own: bool = False) -> None:
        origin = origin_of(split_uris(name))
        if origin in self.named and not (own and self.named[origin]):
            self.left_out[AGAIN] += 1
            return
        self.named[origin] = own
        self.scenes.append(name)


def found_at(name: str, *, pays: bool = False) -> Mapping[str, str] | None:
    """Relative name → address of each file in the folder, or of the pattern, ``name``; None for the name of a scene.

    A local file is one whatever its name holds. Web servers have neither; band files are joined by commas. ``pays``:
    who lists does, where the store wants that said. Raises ConfigError, StorageError.
    """
    path = local_path(name)
    if complaint(name) is not None or is_virtual(path_part(name)):
        return None  # opening it will say so, or may, where such names are allowed
    if path is None and (not name.lower().startswith("s3://") or _is_joined(name)):
        return None
    place = name if path is None else str(path)
    pattern = fixed_part(place) if is_pattern(place) else None
    clear = path is None and not pattern and name.lower().endswith((*RASTERS, "/"))  # costs no question
    kind = ("folder" if name.endswith("/") else "file") if clear else kind_of(place, pays=pays)
    if kind == "folder":
        if is_product(place):
            raise ConfigError(
                f"{shown(name)} is a product of many files: name those of its bands, joined by commas, as in "
                "B04.jp2,B03.jp2,B02.jp2"
            )
        return {one: _below(place, one) for one in files_below(place, pays=pays)}
    if kind == "file" or pattern is None:
        return None
    base, rest = pattern
    if _is_joined(rest):
        return None
    return {one: _below(base, one) for one in files_matching(base, rest, pays=pays)}


def _is_joined(name: str) -> bool:
    """Whether these are the files of one scene. Raises ConfigError where one is a pattern, which may be several."""
    if "," in name and is_pattern(name):
        raise ConfigError(f"{shown(name)}: files that are joined by commas are one scene; name each, without a pattern")
    return "," in name


def _below(place: str, name: str) -> str:
    return str(Path(place) / name) if is_local(place) else join(place, name)


def listed_names(address: str, *, pays: bool = False) -> Iterator[str]:
    """The names in a list of scenes, one a line; relative ones are from the folder of the list on.

    Empty lines and those that begin with ``#`` are passed over. Raises StorageError, and ConfigError for what is no
    list, or names another one.
    """
    for number, line in enumerate(read_lines(address, pays=pays), start=1):
        name = line.strip()
        if name.startswith(LIST):
            raise ConfigError(f"line {number} of {shown(address)} names another list of scenes; name that by itself")
        if name and not name.startswith(COMMENT):
            whole = _from(address, name)
            single = "," not in name or (is_local(whole) and kind_of(whole) is not None)
            yield whole if single else ",".join(_from(address, part.strip()) for part in name.split(","))


def _from(address: str, name: str) -> str:
    """A name in a list, which may be relative to the folder of the list."""
    if not name or "://" in name or name.startswith(("/", "~")):
        return name
    path = local_path(address)
    if path is not None:
        return str(path.parent / name)
    scheme, _, rest = address.partition("://")
    host, _, inside = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host}/{posixpath.normpath(posixpath.join(posixpath.dirname(inside), name))}"


def _kinds(counts: Mapping[str, int], first: Mapping[str, str]) -> str:
    """Files by kind in a sentence: how many, and the first of those that might have been scenes."""
    silent = (OTHER, SIDECAR, AGAIN)
    examples = {kind: f", as {shown(first[kind])}" for kind in counts if kind not in silent}
    return "; ".join(f"{kind} ({count}{examples.get(kind, '')})" for kind, count in sorted(counts.items()))
