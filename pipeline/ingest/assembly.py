"""What a scene of a layout is told to be: its settings, and its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.layouts import Layout
from pipeline.ingest.scene_to_do import SceneToDo, hint_of
from pipeline.ingest.times import written
from pipeline.names import public_uri

_LONGEST = 1000
"""Characters of a fact out of a catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """What says which pixels of a scene show ground."""

    address: str
    mark: str
    """Changes when the file does, as far as its source tells."""


def with_settings(
    feed: FeedConfig, scene: SceneToDo, row: Layout, *, pays: bool, mask: Mask | None, facts: Mapping[str, str]
) -> SceneToDo:  # fmt: skip
    """The scene with the settings that it gets alone: its row's, who pays, and ``output.meta`` with what is known.

    ``mask`` is applied where the feed says what it means; then it is one of the files that tell of a change. ``facts``
    are recorded besides: whatever their sources say, one line each.
    """
    settings: dict[str, Any] = dict(row.settings)
    if mask is not None:
        facts = {**facts, "validity": public_uri(mask.address)}
        if row.classes and feed.run.get("raster.mask_values"):
            settings["raster.mask_file"] = mask.address
            hint = hint_of(updated=scene.updated, hrefs=[mask.address], marks=[scene.hint, mask.mark])
            scene = replace(scene, hint=hint)
    if pays and any(uri.startswith("s3://") for uri in scene.uri.split(",")):
        settings["raster.requester_pays"] = True
    settings["output.meta"] = tuple(f"{key}={value}" for key, value in _known(scene, row, facts))
    return replace(scene, settings=settings)


def _known(scene: SceneToDo, row: Layout, facts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known: dict[str, str | None] = {
        "acquired": None if scene.acquired is None else written(scene.acquired),
        "sensor": scene.sensor,
        "attribution": row.attribution,
        "licence": scene.licence,
        "offset_dn": f"{scene.offset_dn:g}" if scene.offset_dn else None,
        "item": None if scene.item_href is None else public_uri(scene.item_href),
        **facts,
    }
    for key, value in known.items():
        line = " ".join((value or "").split())[:_LONGEST]
        if not line.isprintable():
            line = "".join(letter for letter in line if letter.isprintable())
        if line:
            yield key, line
