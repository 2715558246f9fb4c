"""The catalogue hears which results count no more, by what the ledger says of them.

Both are compared whole: a tick that died between writing the ledger and telling the catalogue is made up for by the
next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC

from pipeline.catalogue.withdrawn import Withdrawal, note_withdrawn, withdrawn
from pipeline.ingest.entry import Entry, State
from pipeline.ingest.ledger import Ledger, Record


def tell_withdrawn(out_uri: str, ledger: Ledger, say: Callable[[str], None]) -> set[str]:
    """Have the catalogue note what the ledger says is withdrawn: ids of the scenes of which it said something else.

    Of what differs the ledger's file is read first: another tick may have changed it since ``ledger`` was loaded.
    Raises StorageError.
    """
    noted = withdrawn(out_uri, say)
    records = {one.entry.scene_id: one for one in ledger.records(State.WITHDRAWN) if _is_withdrawn(one.entry)}
    better = _better(ledger, records.values())
    gone: dict[str, Withdrawal] = {}
    for scene_id, record in records.items():
        there, since = noted.get(scene_id), record.modified.astimezone(UTC).isoformat(timespec="seconds")
        made = Withdrawal(
            sentence=record.entry.sentence, since=since if there is None else there.since,
            successor=better(record.entry), key=record.entry.key,
        )  # fmt: skip
        if made != there and (now := ledger.refresh(made.key)) is not None and now.entry == record.entry:
            gone[scene_id] = made
    back = []
    for scene_id in sorted(noted.keys() - records.keys()):
        now = ledger.refresh(noted[scene_id].key)
        # While a tick is at work on it, it is what it was; what the ledger does not know, it cannot say anything of.
        if now is not None and now.entry.state is not State.CLAIMED and not _is_withdrawn(now.entry):
            back.append(scene_id)
    return note_withdrawn(out_uri, gone, back)


def _is_withdrawn(entry: Entry) -> bool:
    """Whether there is a result that counts no more."""
    return entry.state is State.WITHDRAWN and entry.run_id is not None


def _better(ledger: Ledger, records: Iterable[Record]) -> Callable[[Entry], str | None]:
    """The published scene that stands for the group of an entry, where its rank is higher."""
    best: dict[tuple[str, str], tuple[str, str]] = {}
    for feed in {_feed(one.entry) for one in records if one.entry.group is not None}:
        for record in ledger.grouped(feed):
            of, found = (feed, str(record.entry.group)), (record.entry.rank, record.entry.scene_id)
            best[of] = max(best.get(of, found), found)

    def better(entry: Entry) -> str | None:
        rank, scene_id = best.get((_feed(entry), str(entry.group)), ("", ""))
        return scene_id if entry.group is not None and rank > entry.rank else None

    return better


def _feed(entry: Entry) -> str:
    return entry.key.partition("/")[0]
