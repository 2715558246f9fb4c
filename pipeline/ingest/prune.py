"""``--prune``: results that count no more, listed and then removed. Nothing else of ingestion ever deletes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.errors import SceneBusy
from pipeline.ingest.entry import HAS_RESULT, State
from pipeline.ingest.ledger import Ledger, Record
from pipeline.storage.files import remove_file, remove_folder
from pipeline.storage.folders import MANIFEST
from pipeline.storage.lease import Lease
from pipeline.storage.paths import join

DAY_S = 86_400.0
LEASE_S = 30.0
"""Of a scene whose result is removed, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Which results of WITHDRAWN scenes go."""

    keep_versions: int = 1
    """Of a group of reprocessed scenes so many results stay, the one that stands for it counted."""
    older_than_days: float = 0.0
    """Those withdrawn at least so long ago, by the clock of the store."""


def prunable(ledger: Ledger, wanted: Pruning) -> Iterator[Record]:
    """Results that would go, in the order of their scenes' ids."""
    ranks: dict[str, list[str]] = {}
    taken = set()
    for record in ledger.records(*HAS_RESULT, State.CLAIMED):
        taken.add(record.entry.scene_id)
    every = list(ledger.records(*HAS_RESULT, State.WITHDRAWN))
    for record in every:
        if record.entry.group is not None and record.entry.run_id is not None:
            ranks.setdefault(record.entry.group, []).append(record.entry.rank)
    kept = {group: sorted(found, reverse=True)[: wanted.keep_versions] for group, found in ranks.items()}
    now = ledger.now()
    for record in sorted(every, key=lambda one: one.entry.scene_id):
        entry = record.entry
        if entry.state is not State.WITHDRAWN or entry.run_id is None or entry.scene_id in taken:
            continue
        old = (now - record.modified).total_seconds() >= wanted.older_than_days * DAY_S
        superseded = entry.group is not None and len(ranks[entry.group]) > 1
        if old and not (superseded and entry.rank in kept[str(entry.group)]):
            yield record


def prune(out_uri: str, ledger: Ledger, records: Sequence[Record], say: Callable[[str], None]) -> list[str]:
    """Remove results, the manifest of each first: a reader sees a whole result or none. Ids of the scenes.

    Under the lease of the scene, so that nothing is published into it meanwhile; what somebody works on again stays.
    The ledger says so when the last file is gone: who is stopped in between is listed again. Raises StorageError.
    """
    removed = []
    for record in records:
        scene_id = record.entry.scene_id
        folder = join(out_uri, scene_id)
        try:
            with Lease(out_uri, scene_id, LEASE_S, say):
                now = ledger.refresh(record.entry.key)
                if now is None or now.entry != record.entry:
                    say(f"{scene_id}: it has come back meanwhile, and stays")
                    continue
                remove_file(join(folder, MANIFEST))
                remove_folder(folder)
                gone = replace(now.entry, run_id=None, sentence=f"{now.entry.sentence}; its result was removed")
                ledger.write(gone, now)
                removed.append(scene_id)
        except SceneBusy as error:
            say(f"{scene_id} stays: {error}")
    return removed
