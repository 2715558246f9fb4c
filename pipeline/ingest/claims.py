"""The scenes that a tick has claimed: from the claim, while the tasks are drawn, to what the ledger says in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, PipelineError, StorageError, one_sentence, tidying
from pipeline.ingest.decisions import Candidate
from pipeline.ingest.entry import HAS_RESULT, Entry, State
from pipeline.ingest.feed_file import FeedConfig
from pipeline.ingest.ledger import Ledger, Record
from pipeline.ingest.retries import STOPS_THE_TICK, End
from pipeline.ingest.scene_config import scene_config
from pipeline.ingest.scene_to_do import SceneToDo
from pipeline.ingest.signing import signed
from pipeline.ingest.survey import about, new_entry
from pipeline.ingest.transitions import busy, changed, claimed, died, ended, given_back, looked_at
from pipeline.raster.addresses import split_uris
from pipeline.reporting.journal import Journal
from pipeline.runs.published import last_record
from pipeline.runs.report import SceneReport
from pipeline.runs.run import SceneTask
from pipeline.storage.files import file_version, read_file
from pipeline.storage.lease import lease_uri


class Claims:
    """A context manager: what is still claimed at its end is given back. One thread uses it."""

    def __init__(self, ledger: Ledger, tick: str, feed: FeedConfig, base: RunConfig, journal: Journal) -> None:
        """``base``: the run of the feed, with its ``out``."""
        self._ledger, self._tick, self._feed, self._base, self._journal = ledger, tick, feed, base, journal
        self._held: dict[str, tuple[Record, SceneToDo]] = {}
        self.begun = 0
        """Scenes claimed so far."""
        self.lost = 0
        """Scenes that another tick was faster with."""
        self.outcomes: Counter[str] = Counter()
        """State → scenes that this tick brought there."""
        self.stopped: ConfigError | None = None
        """Set when nothing more is to be begun: what ended one scene would end the next."""

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for scene_id in list(self._held):
            record, _ = self._held.pop(scene_id)
            with tidying(self._journal.say, f"{scene_id} stays claimed until the lease of this tick has run out"):
                self._ledger.write(_left(record.entry, error), record)

    def claim(self, one: Candidate, *, alone: bool) -> SceneTask | None:
        """The task of a scene that is ours now; None where it need not be done, or another tick was faster."""
        scene, record = signed(one.scene), one.record
        try:
            config = scene_config(self._feed, self._base, scene)
        except ConfigError as error:
            raise ConfigError(f"{scene.scene_id}: {error}") from error
        before = new_entry(scene, self._ledger.now().isoformat()) if record is None else about(record.entry, scene)
        version = content_version(scene)
        if one.decision.what == "look" and version == before.version:
            self._ledger.write(looked_at(before, scene.hint), record)
            return None
        entry = claimed(before, tick=self._tick, hint=scene.hint, version=version, alone=alone)
        ours = self._ledger.write(entry, record)
        if ours is None:
            self.lost += 1
            return None
        self.begun += 1
        self._held[scene.scene_id] = (ours, one.scene)
        self._journal.emit("scene_claimed", key=scene.key, scene_id=scene.scene_id, why=one.decision.why)
        return SceneTask(uri=scene.uri, config=config)

    def ended(self, report: SceneReport) -> State | None:
        """Write down how a scene ended: its state now, or None where another tick has taken it over meanwhile."""
        record, scene = self._held.pop(report.scene_id)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if report.status in HAS_RESULT and self._was_replaced(record.entry, scene):
            after = changed(record.entry, "its files were replaced while they were read; they are read again", now)
        elif report.exit_code == StorageError.exit_code and self._is_held(report.scene_id):
            after = busy(record.entry, report.message, now)
        else:
            after = ended(record.entry, self._end(report), now)
        if self._ledger.write(after, record) is None:
            self.lost += 1
            self._journal.say(f"{report.scene_id}: another tick has taken it over; what it finds out counts")
            return None
        self.outcomes[str(after.state)] += 1
        facts = {"key": after.key, "scene_id": after.scene_id, "state": str(after.state), "failures": after.failures}
        told = f"{after.scene_id}: {after.state}: {after.sentence}" if after.state is State.POISON else None
        self._journal.emit("scene_state", told, **facts)
        if report.exit_code in STOPS_THE_TICK:
            self.stopped = ConfigError(f"{report.scene_id}: {report.message}")
        return after.state

    def _end(self, report: SceneReport) -> End:
        whole = report.status in (State.PUBLISHED, State.SKIPPED)
        record = {} if whole or report.folder is None else last_record(self._base.out, report.scene_id)
        return End(
            status=report.status, exit_code=report.exit_code, sentence=report.message, run_id=report.run_id,
            killed_workers=_deaths(record) > 0,
        )  # fmt: skip

    def _is_held(self, scene_id: str) -> bool:
        """Whether there is a lease on the scene. Ours was given back."""
        return read_file(lease_uri(self._base.out, scene_id)) is not None

    def _was_replaced(self, entry: Entry, scene: SceneToDo) -> bool:
        assert entry.claim is not None
        return content_version(scene) != entry.claim.version


def _left(entry: Entry, error: BaseException | None) -> Entry:
    """A scene that was in flight when its tick ended: nothing counts, but for what may have been its doing.

    What would end the next scene too puts it behind all others; a defect has it done alone, as a death does.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if isinstance(error, PipelineError) and error.exit_code in STOPS_THE_TICK:
        return ended(entry, End(status="INVALID", exit_code=error.exit_code, sentence=one_sentence(error)), now)
    if isinstance(error, Exception) and not isinstance(error, PipelineError):
        return died(entry, now)
    return given_back(entry)


def content_version(scene: SceneToDo) -> str:
    """What changes when a file of the scene does: ETags, or sizes and times; where its store tells none, the hint."""
    try:
        pays = bool(scene.settings.get("raster.requester_pays"))
        versions = [file_version(uri, pays=pays) for uri in split_uris(signed(scene).uri)]
    except StorageError as error:  # reading it will say what is wrong
        return f"{scene.hint} ({one_sentence(error)})"
    return scene.hint if None in versions else "; ".join(map(str, versions))


def _deaths(record: Mapping[str, Any]) -> int:
    """Workers that died over a scene, by its record."""
    numbers = record.get("metrics")
    count = numbers.get("worker_deaths", 0) if isinstance(numbers, Mapping) else 0
    return count if isinstance(count, int) else 0
