"""The configuration of one scene: what the feed sets, and beside it what the scene gets alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.config import RunConfig
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.scene_to_do import SceneToDo


def scene_config(feed: FeedConfig, base: RunConfig, scene: SceneToDo) -> RunConfig:
    """``base``, which is the run of the feed with its ``out``, for one scene. What the feed names itself stays.

    Raises ConfigError for settings of a scene that do not go with the feed's.
    """
    sections: dict[str, dict[str, Any]] = {}
    for key, value in scene.settings.items():
        section, _, name = key.partition(".")
        if key == "output.meta":
            value = _both(value, base.output.meta)
        elif key in feed.run:
            continue
        sections.setdefault(section, {})[name] = value
    if scene.offset_dn and base.raster.stretch == "fixed" and base.raster.stretch_range is not None:
        low, high = base.raster.stretch_range  # is meant for values without the offset, as all other scenes have them
        sections.setdefault("raster", {})["stretch_range"] = (low + scene.offset_dn, high + scene.offset_dn)
    changed: dict[str, Any] = {name: replace(getattr(base, name), **values) for name, values in sections.items()}
    return replace(base, scene=(scene.uri,), scene_id=scene.scene_id, **changed)


def _both(entries: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """``output.meta`` of a scene and of the feed, whose entries win by their key."""
    merged = dict(entry.split("=", 1) for entry in (*entries, *given))
    return tuple(f"{key}={value}" for key, value in merged.items())
