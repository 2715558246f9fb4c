"""What a scene of a layout is told to be: its settings, and its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.layouts import Layout
from pipeline.ingest.scene_to_do import SceneToDo
from pipeline.ingest.times import written
from pipeline.names import public_uri

_LONGEST = 1000
"""Characters of a fact out of a catalogue."""


def with_settings(
    feed: FeedConfig, scene: SceneToDo, row: Layout, *, pays: bool, mask: str | None, facts: Mapping[str, str]
) -> SceneToDo:  # fmt: skip
    """The scene with the settings that it gets alone: its row's, who pays, and ``output.meta`` with what is known.

    ``mask``: address of what says which pixels show ground; it is applied where the feed says what it means. ``facts``
    are recorded besides: whatever their sources say, one line each.
    """
    settings: dict[str, Any] = dict(row.settings)
    if mask is not None:
        facts = {**facts, "validity": public_uri(mask)}
        if row.classes and feed.run.get("raster.mask_values"):
            settings["raster.mask_file"] = mask
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
