"""What became of every tile. ``planned == done + failed`` or nothing is published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import PipelineError
from pipeline.types import BlockOutcome, Crop, Detections, Done, Failed, Frame, Tile


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """All outcomes of one scene, in the order of the plan whatever the order they came in."""

    detections: Detections
    """In frame LATTICE."""
    failures: tuple[Failed, ...]
    tiles_done: int
    notes: tuple[str, ...]
    read_s: float
    """Summed over workers."""
    detect_s: float
    """Summed over workers."""
    peak_rss_bytes: int
    """Largest worker process."""
    crops: tuple[Crop, ...] = ()
    """What the second look took, by place."""
    tiles_refined: int = 0
    network_px: int = 0
    """Pixels that went through the network, both looks together."""
    tiles_kept: int = 0
    """Of ``tiles_done``, those that an earlier job had done."""


def account(tiles: Sequence[Tile], outcomes: Iterable[BlockOutcome]) -> Account:
    """Collect the outcomes of ``tiles``.

    A tile that was done twice (its block was recomputed after its worker went silent) counts once; a tile that is
    done in one outcome and failed in another is done. Raises PipelineError when a tile is missing or unknown: that
    is a defect of ours, and a scene with a silent hole must never be published.
    """
    done: dict[str, Done] = {}
    failed: dict[str, Failed] = {}
    notes: list[str] = []
    read_s = detect_s = 0.0
    peak_rss_bytes = tiles_refined = network_px = 0
    crops: list[Crop] = []
    for outcome in outcomes:
        done.update({one.tile_id: one for one in outcome.done})
        failed.update({one.tile_id: one for one in outcome.failed})
        notes += outcome.notes
        read_s += outcome.read_s
        detect_s += outcome.detect_s
        peak_rss_bytes = max(peak_rss_bytes, outcome.peak_rss_bytes)
        crops += outcome.crops
        tiles_refined += outcome.tiles_refined
        network_px += outcome.network_px
    planned = [tile.tile_id for tile in tiles]
    holes = [tile_id for tile_id in planned if tile_id not in done and tile_id not in failed]
    strangers = (done.keys() | failed.keys()) - set(planned)
    if holes or strangers:
        raise PipelineError(
            f"the tiles do not add up: of {len(planned)} planned, {len(holes)} have no outcome (first: {holes[:3]}) "
            f"and {len(strangers)} outcomes belong to no planned tile; nothing is published, please report this"
        )
    parts = [done[tile_id].detections for tile_id in planned if tile_id in done]
    return Account(
        detections=Detections.concat(parts, Frame.LATTICE),
        failures=tuple(failed[tile_id] for tile_id in planned if tile_id in failed and tile_id not in done),
        tiles_done=len(parts),
        notes=tuple(sorted(set(notes))),
        read_s=read_s,
        detect_s=detect_s,
        peak_rss_bytes=peak_rss_bytes,
        crops=tuple(sorted(crops, key=lambda crop: (crop.window.y, crop.window.x, crop.window.width))),
        tiles_refined=tiles_refined,
        network_px=network_px,
    )
