"""The pool of detector actors: who is asked for, placed, loading, ready, or dead."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from pipeline.cluster_nodes import room
from pipeline.config import ClusterConfig
from pipeline.errors import ClusterError, PipelineError
from pipeline.types import Block, BlockOutcome
from pipeline.worker import BlockPixels, LoadDetector, ScenePlan, TileWorker, one_sentence

ROOM_S = 30.0
"""How long an actor may wait for a place that its cluster has before the pool says that others hold it, seconds."""
LOAD_DEATHS = 3
"""Workers that may die while loading the model, before any has loaded it, until the job ends."""


class _Host:
    """A process that holds a TileWorker. Placement (``__init__``) and loading are two steps, told apart on purpose."""

    def __init__(self) -> None:
        self._worker: TileWorker | None = None

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    def load(self, load_detector: LoadDetector) -> str:
        self._worker = TileWorker(load_detector())
        return str(ray.get_runtime_context().get_node_id())

    def look(self, plan: ScenePlan, block: Block, pixels: BlockPixels) -> BlockOutcome:
        assert self._worker is not None
        return self._worker(plan, block, pixels)


_host_actor: Any = ray.remote(max_restarts=0)(_Host)


@dataclass(slots=True, eq=False)
class Work:
    """One block on its way, and how often it went wrong."""

    block: Block
    attempts: int = 0
    limit: int = 1
    pixels: Any = None
    """Reference to the block's pixels; None until its read was submitted."""


@dataclass(slots=True, eq=False)
class Member:
    """One actor of the pool: placed, then loading, then ready; busy with at most one block."""

    actor: Any
    waiting_on: Any
    """Reference to the running step: placement, load or look. None when idle."""
    phase: str = "placing"
    since: float = field(default_factory=time.monotonic)
    work: Work | None = None

    @property
    def idle(self) -> bool:
        return self.phase == "ready" and self.work is None

    def look(self, plan: Any, work: Work) -> None:
        """Start on a block whose pixels are there."""
        self.work = work
        self.waiting_on = self.actor.look.remote(plan, work.block, work.pixels)
        self.since = time.monotonic()


class Pool:
    """As many actors as are wanted, useful and possible; those that die are replaced."""

    def __init__(
        self, load: LoadDetector, config: ClusterConfig, device: str, wanted: int, say: Callable[[str], None]
    ) -> None:
        self.members: list[Member] = []
        self.deaths = 0
        self.most_ready = 0
        """Largest number of actors that were ready at one time."""
        self._load, self._config, self._device, self._wanted, self._say = load, config, device, wanted, say
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

    def advance(self, member: Member) -> None:
        """A step of ``member`` ended well: placing, loading or a look."""
        member.work = None
        member.since = time.monotonic()
        if member.phase == "placing":
            member.phase = "loading"
            member.waiting_on = member.actor.load.remote(self._load)
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
            actor = _host_actor.options(**self._needs()).remote()
            self.members.append(Member(actor, actor.node.remote()))
        waiting = [member.since for member in self.members if member.phase == "placing"]
        if not waiting:
            return
        waited_s = time.monotonic() - min(waiting)
        places = self.placed if waited_s > ROOM_S else room(self._needs())
        if places < len(self.members) and places != self._said_room:
            self._said_room = places
            going = "going on with those" if places else f"waiting up to {self._config.wait_s:g} s for a node"
            self._say(f"the cluster has room for {places} of the {len(self.members)} workers asked for; {going}")
        if not self.placed and waited_s > self._config.wait_s:
            raise ClusterError(
                f"the cluster had no room for a worker ({_words(self._needs())}) for {self._config.wait_s:g} s; add a "
                "node, or lower --cluster.threads"
            )

    def _needs(self) -> dict[str, float]:
        gpus = 1.0 if self._device == "cuda" else 0.0
        return {"num_cpus": float(self._config.threads), "num_gpus": gpus}

    def bury(self, member: Member, error: RayError) -> None:
        """``member`` died. Raises ClusterError when workers keep dying while they load the model."""
        self.members.remove(member)
        self.deaths += 1
        self._say(f"a worker died while {member.phase if member.work is None else 'looking'}; replacing it")
        if member.phase == "loading" and not self._loaded_once:
            self._load_deaths += 1
            if self._load_deaths >= LOAD_DEATHS:
                raise ClusterError(
                    f"{self._load_deaths} workers died while loading the model ({plain(error)}); look at "
                    "the memory of the nodes and at the workers' logs"
                ) from error

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
