"""What becomes of a scene after a go at it, by the class of its exit code; when it is tried again, and when no more."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.errors import EXIT_OK, EXIT_TILES_FAILED, ClusterError, ConfigError, ModelError, SceneError, StorageError
from pipeline.ingest.entry import State

PAUSES_S = (60.0, 240.0, 960.0, 3840.0)
"""Until the second, third … try: 1, 4, 16 and 64 minutes."""
SPREAD = 0.25
"""A pause grows by up to this share of itself, so that scenes that failed together do not come back together."""
MOST_FAILURES = 5
"""Then it is POISON."""
MOST_DEATHS = 2
"""Ticks that died with this scene alone in flight, or goes in which it killed workers: then it is POISON."""
STOPS_THE_TICK = (ConfigError.exit_code, ModelError.exit_code, ClusterError.exit_code)
"""Not the scene's fault: the next scene would end the same way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a go at a scene ended, as far as the ledger cares."""

    status: str
    """Of its report."""
    exit_code: int
    sentence: str
    run_id: str | None = None
    killed_workers: bool = False
    """Workers died, and it was not published whole."""


def state_after(end: End, failures: int, kills: int) -> State:
    """The state of a scene after its ``failures``-th failure in a row, in which it killed workers for the ``kills``-th
    time; both count this one."""
    if end.status in (State.PUBLISHED, State.PARTIAL, State.SKIPPED):
        return State(end.status)
    if end.exit_code == SceneError.exit_code:
        return State.INVALID
    if end.exit_code in STOPS_THE_TICK:
        return State.FAILED
    return State.POISON if failures >= MOST_FAILURES or kills >= MOST_DEATHS else State.FAILED


def pause_s(key: str, failures: int) -> float:
    """Seconds from the ``failures``-th failure of a scene to the next try; the same scene gets the same."""
    pause = PAUSES_S[min(failures, len(PAUSES_S)) - 1] if failures else 0.0
    return pause * (1.0 + SPREAD * random.Random(f"{key} {failures}").random())


def is_due(waited_s: float, wait_s: float) -> bool:
    """Whether a failed scene may be tried again. Who waited less than nothing sees a clock that went back: it may,
    rather than wait for an hour that comes twice."""
    return waited_s >= wait_s or waited_s < 0


CLASSES = {
    EXIT_OK: "published",
    ConfigError.exit_code: "configuration",
    SceneError.exit_code: "scene",
    ModelError.exit_code: "model",
    StorageError.exit_code: "storage",
    ClusterError.exit_code: "cluster",
    EXIT_TILES_FAILED: "tiles",
}
"""Exit code → what it is about."""
