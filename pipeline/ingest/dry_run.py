"""What a tick would do with every scene of a listing, and why; for people."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.ingest.survey import Survey
from pipeline.names import brief, shown


def lines(found: Survey) -> Iterator[str]:
    """One line a scene that is not simply published, then the counts."""
    for one in found.candidates:
        yield f"{one.decision.what:<10}{brief(one.scene.scene_id)}: {one.decision.why}: {shown(one.scene.uri)}"
    for key, why in found.left:
        yield f"{'wait':<10}{brief(key)}: {why}"
    for entry in found.unwanted:
        yield f"{'skip':<10}{brief(entry.scene_id)}: {entry.sentence}"
    for unusable in found.unusable:
        yield f"{'unusable':<10}{brief(unusable.key)}: {unusable.reason}"
    for record, why in found.gone:
        yield f"{'withdraw':<10}{brief(record.entry.scene_id)}: {why}"
    counts = {
        "to detect": sum(one.decision.what == "detect" for one in found.candidates),
        "to look at": sum(one.decision.what == "look" for one in found.candidates),
        "waiting": len(found.left),
        "skipped": len(found.unwanted),
        "unusable": len(found.unusable),
        "to withdraw": len(found.gone),
    }
    yield f"{len(found.keys):,} scenes in the feed: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
