"""What a listing said beside what was worked on, written down: who waits, who is not wanted and why, who is gone."""

from __future__ import annotations

from pipeline.ingest.entry import Entry, State
from pipeline.ingest.ledger import Ledger, Record
from pipeline.ingest.survey import Survey, new_entry
from pipeline.ingest.transitions import cleared, skipped, withdrawn


def write_down(found: Survey, ledger: Ledger, feed: str) -> None:
    """Bring the ledger up to date with a listing. Raises StorageError."""
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
    if found.is_full:
        ledger.forget(feed, found.keys)
    for record, reason in found.gone:
        _withdraw(ledger, record, reason)


def _withdraw(ledger: Ledger, record: Record, reason: str) -> None:
    """Unless it was worked on since it was listed."""
    now = ledger.get(record.entry.key)
    if now is not None and now.entry == record.entry:
        ledger.write(withdrawn(record.entry, reason), now)


RETRIED = {
    "poison": (State.POISON,),
    "failed": (State.FAILED, State.PARTIAL),
    "invalid": (State.INVALID,),
}
"""What ``--retry`` takes → states that are forgotten."""


def clear(ledger: Ledger, feed: str, retry: str) -> int:
    """Have scenes of a feed tried again whatever went wrong with them; how many. Raises StorageError.

    ``invalid`` also removes files of the ledger that are no entries.
    """
    count = ledger.remove_damaged() if retry == "invalid" else 0
    for record in list(ledger.records(*RETRIED[retry])):
        if record.has_file and record.entry.key.startswith(f"{feed}/"):
            count += ledger.write(cleared(record.entry), record) is not None
    return count
