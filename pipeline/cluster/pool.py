"""The pool of detector actors: who is asked for, placed, loading, ready, hanging or dead."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from pipeline.cluster.member import Member, host_actor
from pipeline.cluster.nodes import room
from pipeline.cluster.work import Work, place_facts
from pipeline.config import ClusterConfig
from pipeline.engine.worker import LoadDetector
from pipeline.errors import ClusterError, DeadlineExceeded, PipelineError, one_sentence
from pipeline.reporting.journal import Journal
from pipeline.reporting.metrics import Metrics

ROOM_S = 30.0
"""How long an actor may wait for a place that its cluster has before the pool says that others hold it, seconds."""
LOAD_DEATHS = 3
"""Workers that may die before any has loaded the model, until the job ends."""


class Pool:
    """As many actors as are wanted, useful and possible; those that die are replaced."""

    def __init__(
        self, load: LoadDetector, config: ClusterConfig, device: str, wanted: int, journal: Journal, metrics: Metrics
    ) -> None:
        self.members: list[Member] = []
        self.most_ready = 0
        """Largest number of actors that were ready at one time."""
        self._load, self._config, self._device, self._wanted = load, config, device, wanted
        self._journal, self._metrics = journal, metrics
        self._asked = 0
        self._job = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """Tells the names of this job's actors from those of others in a cluster, where no two may have one name."""
        self._load_deaths = 0
        self._loaded_once = False
        self._said_room: int | None = None

    def close(self) -> None:
        """End every actor."""
        for member in self.members:
            ray.kill(member.actor)
        self.members = []

    @property
    def busy(self) -> int:
        """Actors that hold a block."""
        return sum(1 for member in self.members if member.work)

    @property
    def placed(self) -> int:
        """Actors that have a place, whether or not they have loaded the model."""
        return sum(1 for member in self.members if member.phase != "placing")

    def idle(self) -> list[Member]:
        """Actors that could take a block."""
        return [member for member in self.members if member.idle]

    def advance(self, member: Member, value: Any) -> None:
        """A step of ``member`` ended well and answered ``value``: placing, loading or a look."""
        member.let_go()
        member.since = time.monotonic()
        if member.phase == "placing":
            member.phase, member.place = "loading", value
            member.step = member.actor.load.remote(self._load)
        elif member.phase == "loading":
            member.phase = "ready"
            self._loaded_once = True
            self.most_ready = max(self.most_ready, sum(1 for one in self.members if one.phase == "ready"))

    def staff(self, blocks: int) -> None:
        """Ask for the actors that are wanted and useful; say so, and wait bounded, while there is no room for them.

        ``blocks`` wait for an actor. Actors without room stay in Ray's queue on purpose: an autoscaler starts nodes
        for what it sees there. Raises ClusterError when no actor found a place in time.
        """
        for _ in range(min(self._wanted, blocks + self.busy) - len(self.members)):
            self._asked += 1
            actor = host_actor.options(**self._needs(), name=f"detector {self._asked} of job {self._job}").remote()
            self.members.append(Member(actor, actor.place.remote()))
        waiting = [member.since for member in self.members if member.phase == "placing"]
        if not waiting:
            return
        waited_s = time.monotonic() - min(waiting)
        places = self.placed if waited_s > ROOM_S else room(self._needs())
        if places < len(self.members) and places != self._said_room:
            self._said_room = places
            going = "going on with those" if places else f"waiting up to {self._config.wait_s:g} s for a node"
            asked = len(self.members)
            self._journal.emit(
                "room",
                f"the cluster has room for {places} of the {asked} workers asked for; {going}",
                places=places,
                workers=asked,
            )
        if not self.placed and waited_s > self._config.wait_s:
            raise ClusterError(
                f"the cluster had no room for a worker ({_words(self._needs())}) for {self._config.wait_s:g} s; add a "
                "node, or lower --cluster.threads"
            )

    def _needs(self) -> dict[str, float]:
        gpus = 1.0 if self._device == "cuda" else 0.0
        return {"num_cpus": float(self._config.threads), "num_gpus": gpus}

    def bury(self, member: Member, error: Exception) -> None:
        """``member`` died or was killed. Raises ClusterError when workers keep dying and none has loaded the model."""
        self.members.remove(member)
        metrics = self._metrics if member.work is None else member.work.queue.metrics
        metrics.count(worker_deaths=1)
        doing = member.phase if member.work is None else "looking"
        why = one_sentence(plain(error) if doing == "looking" else error)
        self._journal.emit(
            "worker_died",
            f"a worker died while {doing}; replacing it",
            phase=doing,
            **place_facts(member.place),
            scene_id=member.work and member.work.queue.scene_id,
            block_id=member.work and member.work.block.block_id,
            error=type(error).__name__,
            reason=why,
        )
        if not self._loaded_once:
            self._load_deaths += 1
            if self._load_deaths >= LOAD_DEATHS:
                what = "loading the model" if doing == "loading" else "starting"
                raise ClusterError(
                    f"{self._load_deaths} workers died while {what} ({why}); look at the memory of the nodes and at "
                    "the workers' logs"
                ) from error

    def kill_silent(self) -> Iterator[tuple[Work | None, DeadlineExceeded]]:
        """End the actors that have shown no sign of life for too long; what each was busy with, and why it ended."""
        for member in list(self.members):
            limit_s = self._config.deadline_s
            if member.phase == "loading":
                limit_s = max(limit_s, self._config.start_s)
            if member.silent_s() <= limit_s:
                continue
            ray.kill(member.actor)
            metrics = self._metrics if member.work is None else member.work.queue.metrics
            metrics.count(deadlines_exceeded=1)
            error = DeadlineExceeded(f"the detector gave no sign of life for {limit_s:g} s (cluster.deadline_s)")
            self.bury(member, error)
            yield member.let_go(), error

    def watch_loading(self) -> None:
        """Raise ClusterError when nobody has ever loaded the model, and somebody has been trying for too long."""
        if self._loaded_once:
            return
        loading = [member.since for member in self.members if member.phase == "loading"]
        if loading and time.monotonic() - min(loading) > self._config.start_s:
            raise ClusterError(
                f"no worker has loaded the model within {self._config.start_s:g} s; raise --cluster.start_s if it is "
                "merely large, else look at the workers' logs"
            )


def load_failure(cause: Exception) -> PipelineError:
    """What a loader raised, as an error of ours."""
    if isinstance(cause, PipelineError):
        return cause
    return ClusterError(f"a worker could not load the model: {type(cause).__name__}: {plain(cause)}")


def plain(error: Exception) -> Exception:
    """The error without Ray's traceback: a worker's death in one sentence, an error of ours as it is."""
    if isinstance(error, RayActorError):
        return ClusterError("the worker process died while looking at this tile")
    if isinstance(error, RayError):
        return ClusterError(one_sentence(error))
    return error


def _words(needs: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {key.removeprefix('num_')}" for key, amount in needs.items() if amount)
