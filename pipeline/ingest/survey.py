"""One listing of a feed against the ledger: what is to be done, what is not and why, what is gone. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pipeline.errors import PipelineError
from pipeline.ingest.decisions import Candidate, decide
from pipeline.ingest.entry import HAS_RESULT, Entry, State
from pipeline.ingest.ledger import Ledger, Record
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.ingest.transitions import skipped

OUT_OF_THE_RACE = (State.INVALID, State.POISON, State.WITHDRAWN, State.SKIPPED)
"""A scene of a group in one of these holds up no other of its group."""


@dataclass(slots=True, kw_only=True)
class Survey:
    """What one listing said."""

    candidates: list[Candidate] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    """Key and sentence of scenes that are waited for, or that only a person has tried again."""
    unwanted: list[Entry] = field(default_factory=list)
    """Scenes without a result that are not wanted, each with its reason."""
    unusable: list[Unusable] = field(default_factory=list)
    gone: list[tuple[Record, str]] = field(default_factory=list)
    """Scenes that were worked on, and that the feed shows no more, or shows better ones of; and that in a sentence."""
    keys: set[str] = field(default_factory=set)
    """All that was listed."""
    latest: datetime | None = None
    """When the scene that changed last did."""
    held: dict[str, SceneToDo] = field(default_factory=dict)
    """Key → scene that another tick is at work on."""
    since: datetime | None = None
    """From when on it was listed; None: all there is."""
    error: PipelineError | None = None
    """What ended the listing before its end: then nothing counts as gone."""

    @property
    def is_full(self) -> bool:
        """Whether what it does not show is gone. A listing of nothing is rather a wrong address than an empty feed."""
        hidden = any(one.hides_scenes for one in self.unusable)
        return self.error is None and self.since is None and bool(self.keys) and not hidden

    def freed(self, keys: Iterable[str], ledger: Ledger) -> list[Candidate]:
        """Scenes that another tick had claimed when they were listed, and now has no more."""
        every = [(self.held[key], ledger.get(key)) for key in keys if key in self.held]
        decided = [(scene, record, decide(scene, record, ledger.now())) for scene, record in every]
        return [
            Candidate(scene=scene, record=record, decision=one)
            for scene, record, one in decided
            if one.what == "detect"
        ]

    def not_reached(self, ledger: Ledger) -> list[Entry]:
        """What a tick has left of the candidates, whatever they were before: as the next one must be shown them."""
        every = ((one.scene, ledger.get(one.scene.key)) for one in self.candidates)
        left = (scene for scene, record in every if decide(scene, record, ledger.now()).what != "leave")
        return [new_entry(scene, "") for scene in left]


def new_entry(scene: SceneToDo, seen: str) -> Entry:
    """The entry of a scene that the ledger does not know."""
    return about(Entry(key=scene.key, scene_id=scene.scene_id, seen=seen), scene)


def about(entry: Entry, scene: SceneToDo) -> Entry:
    """The same entry with what the feed says of the scene now."""
    times = {
        name: None if when is None else when.astimezone(UTC).isoformat()
        for name, when in (("acquired", scene.acquired), ("updated", scene.updated))
    }
    return replace(
        entry, scene_id=scene.scene_id, origin="\n".join(scene.origin), group=scene.supersedes, rank=scene.rank,
        acquired=times["acquired"], updated=times["updated"],
    )  # fmt: skip


def survey(
    feed: str,
    listing: Iterable[SceneToDo | Unusable],
    unwanted: Callable[[SceneToDo], str | None],
    ledger: Ledger,
    since: datetime | None = None,
) -> Survey:
    """Go through a listing. ``unwanted``: why a scene is filtered out, in a sentence; None for one that is wanted.

    ``since``: what changed before is not in the listing.
    """
    found, ranks, now = Survey(since=since), _Ranks(ledger, feed), ledger.now()
    others = {one.entry.origin: one.entry.key for one in ledger.of_other_feeds(feed) if _counts(one.entry)}
    wanted: list[Candidate] = []
    try:
        for scene in listing:
            found.keys.add(scene.key)
            if isinstance(scene, Unusable):
                found.unusable.append(scene)
                continue
            found.latest = max(filter(None, (found.latest, scene.updated)), default=None)
            damaged, record = ledger.why_damaged(scene.key), ledger.get(scene.key)
            reason = unwanted(scene) or _elsewhere(scene, others)
            if damaged is not None:
                found.left.append((scene.key, damaged))
            elif reason is not None:
                _leave(found, scene, record, reason, now)
            else:
                ranks.see(scene, record)
                one = Candidate(scene=scene, record=record, decision=decide(scene, record, now))
                wanted += [one] if one.decision.what != "leave" else _waiting(found, one)
    except PipelineError as error:
        found.error = error
    for one in wanted:
        better = ranks.better(one.scene.supersedes, one.scene.rank)
        if better is None:
            found.candidates.append(one)
        elif one.entry is None or one.entry.state not in HAS_RESULT:
            _leave(found, one.scene, one.record, f"superseded by {better}", now)
    found.gone = list(_gone(feed, ledger, ranks, found))
    return found


def _waiting(found: Survey, one: Candidate) -> tuple[Candidate, ...]:
    """Nothing to do now; a scene that is not simply published is told of. Returns nothing."""
    if one.entry is not None and one.entry.state not in HAS_RESULT:
        found.left.append((one.scene.key, one.decision.why))
        if one.entry.state is State.CLAIMED:
            found.held[one.scene.key] = one.scene
    return ()


class _Ranks:
    """The best scene of every group, in the feed and in the ledger."""

    def __init__(self, ledger: Ledger, feed: str) -> None:
        self._best: dict[str, tuple[str, str]] = {}
        self.published: dict[str, tuple[str, str]] = {}
        for record in ledger.grouped(feed):
            group, rank, key = str(record.entry.group), record.entry.rank, record.entry.key
            self._put(group, rank, key)
            self.published[group] = max(self.published.get(group, ("", "")), (rank, key))

    def see(self, scene: SceneToDo, record: Record | None) -> None:
        """A scene that is wanted."""
        state = None if record is None else record.entry.state
        superseded_before = state is State.SKIPPED and record is not None and not record.entry.version
        if scene.supersedes is not None and (state not in OUT_OF_THE_RACE or superseded_before):
            self._put(scene.supersedes, scene.rank, scene.key)

    def better(self, group: str | None, rank: str) -> str | None:
        """Key of the scene that stands for a group, where its rank is higher."""
        if group is None:
            return None
        best, key = self._best.get(group, ("", ""))
        return key if best > rank else None

    def _put(self, group: str, rank: str, key: str) -> None:
        self._best[group] = max(self._best.get(group, ("", "")), (rank, key))


def _gone(feed: str, ledger: Ledger, ranks: _Ranks, found: Survey) -> Iterable[tuple[Record, str]]:
    """Results that count no more, and scenes that went wrong or wait and need not any longer."""
    missing = {*ledger.keys_with_result(feed), *_unfinished(feed, ledger)} - found.keys if found.is_full else set()
    for key in sorted(missing):
        record = ledger.get(key)
        if record is not None:
            yield record, "its feed shows it no more"
    for record in ledger.grouped(feed):
        best, key = ranks.published.get(str(record.entry.group), ("", ""))
        if best > record.entry.rank and record.entry.key not in missing:
            yield record, f"superseded by {key}"


def _unfinished(feed: str, ledger: Ledger) -> Iterable[str]:
    """Keys of a feed's scenes that were begun with, and have no result. What has no file is forgotten as it is."""
    begun = ledger.records(State.NEW, State.FAILED, State.INVALID, State.POISON)
    return (one.entry.key for one in begun if one.has_file and one.entry.key.startswith(f"{feed}/"))


def _leave(found: Survey, scene: SceneToDo, record: Record | None, reason: str, now: datetime) -> None:
    """It is not wanted: what has no result is SKIPPED, what has one stays as it is."""
    if record is None or record.entry.state in (State.NEW, State.FAILED, State.SKIPPED):
        before = new_entry(scene, now.isoformat()) if record is None else record.entry
        found.unwanted.append(skipped(before, reason))


def _elsewhere(scene: SceneToDo, others: dict[str, str]) -> str | None:
    key = others.get("\n".join(scene.origin))
    return None if key is None else f"it is done already, as {key} of another feed"


def _counts(entry: Entry) -> bool:
    return entry.state not in (State.SKIPPED, State.WITHDRAWN, State.NEW) and bool(entry.origin)
