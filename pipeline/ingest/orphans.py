"""Ticks that are no more: what they had claimed is for others, what they had published is for the catalogue."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from pipeline.errors import tidying
from pipeline.ingest.entry import State
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.transitions import died
from pipeline.reporting.journal import Journal
from pipeline.storage.lease import Watch


class Orphans:
    """Watches the other ticks that the ledger knows of; no clock is compared."""

    def __init__(self, ledger: Ledger, tick: str, lease_s: float, journal: Journal) -> None:
        self._ledger, self._journal = ledger, journal
        claims = [record.entry.claim for record in ledger.records(State.CLAIMED)]
        others = {*ledger.marked, *(claim.tick for claim in claims if claim is not None)} - {tick}
        self._watched = {one: Watch(ledger.ticks, one, lease_s) for one in sorted(others)}
        self._lease_s = lease_s
        self.dead: list[str] = []
        """Tokens of ticks that did not come to their end."""

    def recover(self, *, wait: bool = False) -> list[str]:
        """Keys of scenes that were claimed by ticks now known to be dead.

        ``wait``: until it is known of all, which takes at most as long as their leases last. Raises StorageError.
        """
        recovered: list[str] = []
        while self._watched:
            for token, watch in list(self._watched.items()):
                held = watch.held()
                if held is not None:
                    del self._watched[token]
                if held is False:
                    self.dead.append(token)
                    recovered += self._taken_from(token)
            if not wait or not self._watched:
                break
            time.sleep(min(1.0, self._lease_s / 20))
        return recovered

    def clear(self) -> None:
        """Remove what the dead have left, once the catalogue knows all they had published."""
        for token in self.dead:
            with tidying(self._journal.say, f"the mark of a tick that died, {token}, stays in {self._ledger.ticks}"):
                Watch(self._ledger.ticks, token, self._lease_s).clear()
                self._ledger.unmark(token)

    def _taken_from(self, token: str) -> list[str]:
        keys = []
        for record in list(self._ledger.records(State.CLAIMED)):
            claim = record.entry.claim
            if claim is None or claim.tick != token:
                continue
            entry = died(record.entry, datetime.now(UTC).isoformat(timespec="seconds"))
            if self._ledger.write(entry, record) is not None:
                keys.append(entry.key)
                told = "it is done alone next time" if entry.state is State.FAILED else "it is poison"
                self._journal.emit(
                    "tick_died", f"{entry.scene_id}: {entry.sentence}; {told}", key=entry.key, scene_id=entry.scene_id
                )
        return keys
