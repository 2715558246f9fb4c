"""What a listing said beside what was worked on, written down: who waits, who is not wanted and why, who is gone."""

from __future__ import annotations

from pipeline.ingest.entry import Entry, State
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.survey import Survey, new_entry
from pipeline.ingest.transitions import skipped, withdrawn


def write_down(found: Survey, ledger: Ledger, feed: str) -> set[str]:
    """Bring the ledger up to date with a listing; ids of scenes whose result counts no more. Raises StorageError."""
    for one in found.candidates:
        if one.record is None:
            ledger.note(new_entry(one.scene, ledger.now().isoformat()))
    for entry in found.unwanted:
        record = ledger.get(entry.key)
        if record is None or not record.has_file:
            ledger.note(entry)
        elif record.entry.state in (State.NEW, State.FAILED, State.SKIPPED) and record.entry != entry:
            ledger.write(skipped(record.entry, entry.sentence), record)
    for unusable in found.unusable:
        if ledger.why_damaged(unusable.key) is None:
            ledger.note(Entry(key=unusable.key, scene_id="", state=State.INVALID, sentence=unusable.reason))
    withdrawals = set()
    for record, reason in found.gone:
        now = ledger.get(record.entry.key)
        if now is not None and now.entry == record.entry and ledger.write(withdrawn(now.entry, reason), now) is not None:
            withdrawals.add(record.entry.scene_id)
    if found.is_full:
        ledger.forget(feed, found.keys)
    return withdrawals
