"""The ledger: one small JSON a scene under ``OUT/_ledger``, which one of two ticks can change; and one table of all.

A scene that nobody has worked on has no file: that it is waiting, or why it is not wanted, follows from its feed and
stands in the table alone. So a backlog of a million costs one write. Whoever loses a race is told so and reads again;
the table is never trusted with a decision, only with what need not be looked at.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.ingest.entry import HAS_RESULT, Damaged, Entry, State, from_json, name_of, to_json
from pipeline.ingest.ledger_files import READERS, TICKS, is_entry, ledger_files
from pipeline.outputs.ledger_table import LedgerRow, LedgerTable, Wanted, empty_ledger, read_ledger
from pipeline.storage.conditional import (
    Listed,
    create_if_absent,
    exchange,
    read_versioned,
    replace_if_unchanged,
)
from pipeline.storage.files import remove_file
from pipeline.storage.paths import join

LEDGER = "_ledger"
"""Folder beside those of the scenes."""
TABLE = "ledger.parquet"
MANY = 20_000
"""From so many scenes on, the 256 folders of the ledger are listed at once and not one after another."""
TRIES = 8
"""At writing the table while other ticks do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry as it was read or written."""

    entry: Entry
    version: str | None
    """To replace it by; None where that must be read first, or there is no file."""
    has_file: bool
    modified: datetime
    """By the clock of the store."""


class Ledger:
    """The ledger of one OUT, as one tick sees it. One thread uses it."""

    def __init__(self, out_uri: str, say: Callable[[str], None]) -> None:
        self.folder = join(out_uri, LEDGER)
        self.ticks = join(self.folder, TICKS)
        self._say = say
        self._table = empty_ledger()
        self._fresh: dict[str, Record] = {}
        self._marks: dict[str, str] = {}
        self.damaged: dict[str, str] = {}
        """Name of a file → why it is no entry, as the end of a sentence."""
        self.marked: set[str] = set()
        """Tokens of ticks that are at work, or died."""
        self._gone: set[str] = set()
        self._zero, self._began = datetime.now(UTC), time.monotonic()

    def now(self) -> datetime:
        """The time by the clock of the store, as far as it is known: see :meth:`load`."""
        return self._zero + timedelta(seconds=time.monotonic() - self._began)

    def mark(self, tick: str) -> None:
        """Leave word that a tick is at work. Raises StorageError."""
        create_if_absent(join(self.ticks, f"{tick}.json"), b"{}")

    def unmark(self, tick: str) -> None:
        """Its work is done. Raises StorageError."""
        remove_file(join(self.ticks, f"{tick}.json"))

    def load(self, tick: str | None = None) -> None:
        """Read the table, and the files that are newer. ``tick`` has left its mark: the store's clock is read from it.

        Raises StorageError.
        """
        self._table = self._read_table()
        began = time.monotonic()
        listed = {one.name: one for one in ledger_files(self.folder, many=len(self._table) >= MANY)}
        mark = listed.get(f"{TICKS}/{tick}.json")
        if mark is not None:
            self._zero, self._began = mark.modified, began
        ticks = (name.removeprefix(f"{TICKS}/") for name in listed if name.startswith(f"{TICKS}/"))
        self.marked = {name.removesuffix(".json") for name in ticks}
        files = {name: one for name, one in listed.items() if is_entry(name)}
        before = self._table.marks()
        self._gone = {name for name, old in before.items() if old is not None and name not in files}
        newer = [one for name, one in files.items() if before.get(name) != one.version]
        with ThreadPoolExecutor(READERS) as pool:
            for one, record in zip(newer, pool.map(self._read_listed, newer), strict=True):
                if record is not None:
                    self._fresh[one.name], self._marks[one.name] = record, one.version

    def get(self, key: str) -> Record | None:
        """What is known of a scene."""
        name = name_of(key)
        if name in self._fresh:
            return self._fresh[name]
        row = None if name in self._gone else self._table.get(name)
        return None if row is None else self._parsed(row)

    def why_damaged(self, key: str) -> str | None:
        """One sentence where the file of this scene is no entry."""
        name = name_of(key)
        return self._damage(name) if name in self.damaged else None

    def records(self, *states: State) -> Iterator[Record]:
        """All records, or those in one of ``states``."""
        yield from self._parsed_rows(Wanted(states=states or None))
        yield from (one for one in list(self._fresh.values()) if not states or one.entry.state in states)

    def grouped(self, feed: str) -> Iterator[Record]:
        """Results of a feed's scenes that are one of several processings of an acquisition."""
        wanted = Wanted(states=HAS_RESULT, begins=f"{feed}/", holds='"group": ')
        yield from self._parsed_rows(wanted)
        for one in list(self._fresh.values()):
            if one.entry.state in HAS_RESULT and one.entry.group is not None and one.entry.key.startswith(f"{feed}/"):
                yield one

    def keys_with_result(self, feed: str) -> Iterator[str]:
        """Keys of a feed's scenes that are published."""
        yield from self._table.keys(Wanted(states=HAS_RESULT, begins=f"{feed}/"), self._besides())
        fresh = [one.entry for one in self._fresh.values()]
        yield from (one.key for one in fresh if one.state in HAS_RESULT and one.key.startswith(f"{feed}/"))

    def of_other_feeds(self, feed: str) -> Iterator[Record]:
        """Records of scenes that another feed has shown."""
        yield from self._parsed_rows(Wanted(begins_not=f"{feed}/"))
        yield from (one for one in list(self._fresh.values()) if not one.entry.key.startswith(f"{feed}/"))

    def _parsed_rows(self, wanted: Wanted) -> Iterator[Record]:
        rows = self._table.rows(wanted, self._besides())
        return (record for row in rows if (record := self._parsed(row)) is not None)

    def _besides(self) -> set[str]:
        """Names whose rows in the table are not what counts."""
        return {*self._fresh, *self._gone, *self.damaged}

    def forget(self, feed: str, keys: Collection[str]) -> None:
        """Drop scenes of a feed that have no file and are not among ``keys``, those of a full listing."""
        wanted = Wanted(states=(State.NEW, State.SKIPPED, State.INVALID), begins=f"{feed}/")
        rows = self._table.rows(wanted, {*self._fresh, *self._gone})
        self._gone |= {row.name for row in rows if row.mark is None and row.key not in keys}

    def counts(self) -> Counter[str]:
        """State → scenes in it."""
        counts = self._table.counts(self._besides())
        counts.update(str(one.entry.state) for one in self._fresh.values())
        return counts

    def write(self, entry: Entry, before: Record | None) -> Record | None:
        """Write an entry in place of what was known of it: the new record, or None where another tick was faster.

        After None, :meth:`get` knows what lies there now. Raises StorageError.
        """
        name = name_of(entry.key)
        uri = join(self.folder, name)
        version: str | None
        if before is None or not before.has_file:
            version = create_if_absent(uri, to_json(entry))
        else:
            expected = before if before.version is not None else self.refresh(entry.key)
            if expected is None or expected.version is None or expected.entry != before.entry:
                return None
            version = replace_if_unchanged(uri, to_json(entry), expected.version)
        if version is None:
            self.refresh(entry.key)
            return None
        return self._keep(name, Record(entry=entry, version=version, has_file=True, modified=self.now()))

    def note(self, entry: Entry) -> None:
        """Have the table know a scene that has no file; one that has keeps it, and nothing happens."""
        known = self.get(entry.key)
        if known is None or (not known.has_file and known.entry != entry):
            name = name_of(entry.key)
            self._fresh[name] = Record(entry=entry, version=None, has_file=False, modified=self.now())

    def refresh(self, key: str) -> Record | None:
        """Read what lies there now. Raises StorageError."""
        name = name_of(key)
        found = read_versioned(join(self.folder, name))
        if found is None:
            self._fresh.pop(name, None)
            self._gone.add(name)
            return None
        try:
            entry = from_json(found.content, name)
        except Damaged as error:
            self.damaged[name] = str(error)
            return None
        return self._keep(name, Record(entry=entry, version=found.version, has_file=True, modified=self.now()))

    def damage(self) -> list[str]:
        """Sentences about files that are no entries."""
        return [self._damage(name) for name in sorted(self.damaged)]

    def remove_damaged(self) -> int:
        """Remove files that are no entries, so that their scenes are done anew; how many. Raises StorageError."""
        count = len(self.damaged)
        for name in list(self.damaged):
            remove_file(join(self.folder, name))
            del self.damaged[name]
            self._gone.add(name)
        return count

    def compact(self) -> None:
        """Write the table anew, with what other ticks have put into it meanwhile. Raises StorageError."""
        uri = join(self.folder, TABLE)
        mine = {name: self._row(name, record) for name, record in self._fresh.items()}
        for _ in range(TRIES):
            there = read_versioned(uri)
            table = self._understood(there.content) if there is not None else empty_ledger()
            rows = {name: row for name, row in mine.items() if not _is_newer(table.get(name), row)}
            if not rows and not self._gone:
                return
            content = table.with_rows(rows, self._gone - mine.keys()).to_parquet()
            if exchange(uri, content, None if there is None else there.version) is not None:
                return
        self._say(f"other ticks are writing {uri} all the time: the next one brings it up to date")

    def _damage(self, name: str) -> str:
        return (
            f"the ledger file {join(self.folder, name)} {self.damaged[name]}; its scene waits until --retry invalid "
            "removes it"
        )

    def _keep(self, name: str, record: Record) -> Record:
        self._fresh[name] = record
        self._gone.discard(name)
        self.damaged.pop(name, None)
        if record.version is not None:
            self._marks[name] = record.version
        return record

    def _read_table(self) -> LedgerTable:
        there = read_versioned(join(self.folder, TABLE))
        return empty_ledger() if there is None else self._understood(there.content)

    def _understood(self, content: bytes) -> LedgerTable:
        try:
            return read_ledger(content)
        except ValueError as error:
            self._say(f"{join(self.folder, TABLE)} is not used, for {error}; it is made anew from the files")
            return empty_ledger()

    def _read_listed(self, one: Listed) -> Record | None:
        found = read_versioned(join(self.folder, one.name))
        if found is None:  # removed since the listing
            return None
        try:
            entry = from_json(found.content, one.name)
        except Damaged as error:
            self.damaged[one.name] = str(error)
            return None
        return Record(entry=entry, version=found.version, has_file=True, modified=one.modified)

    def _parsed(self, row: LedgerRow) -> Record | None:
        try:
            entry = from_json(row.entry.encode(), row.name)
        except Damaged as error:
            self.damaged[row.name] = str(error)
            return None
        return Record(entry=entry, version=None, has_file=row.mark is not None, modified=row.modified)

    def _row(self, name: str, record: Record) -> LedgerRow:
        entry = record.entry
        return LedgerRow(
            name=name, mark=self._marks.get(name) if record.has_file else None, modified=record.modified,
            key=entry.key, scene_id=entry.scene_id, state=str(entry.state), entry=to_json(entry).decode(),
        )  # fmt: skip


def _is_newer(there: LedgerRow | None, ours: LedgerRow) -> bool:
    """Whether another tick has written of a later state of the file; what has no file gives way to what has one."""
    if there is None or there.mark == ours.mark:
        return False
    if (there.mark is None) != (ours.mark is None):
        return there.mark is not None
    return there.modified > ours.modified
