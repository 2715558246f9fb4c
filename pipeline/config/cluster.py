"""Settings of the machines that do the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.config.checks import require


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Which machines do the work, and how patient to be with them. Changes no result, except the thread count."""

    workers: int | Literal["auto"] = "auto"
    """Detector processes; ``auto`` is one per GPU, else one per ``threads`` CPU cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; ``auto`` takes a GPU where the cluster has one."""
    threads: int = 1
    """CPU threads of one detector process. Part of the configuration hash: it may change last digits."""
    address: str | None = None
    """Ray cluster to join. Default: the one of the submitted job, else a local one started for the run."""
    in_flight: int = 2
    """Blocks read ahead per worker; bounds memory."""
    scenes: int | Literal["auto"] = "auto"
    """Scenes worked on at once, so that workers are busy while one is planned or published; ``auto`` goes by the
    number of workers. Bounds memory of the process that hands out the work."""
    start_s: float = 60.0
    """Fail when no worker has loaded the model this many seconds after the first began to."""
    wait_s: float = 600.0
    """Wait at most this many seconds for the cluster to make room for a worker."""
    max_attempts: int = 3
    """How often a block may go wrong (its worker dies, its read fails) before it is bisected to find the tile to
    blame. Holds for ``executor=local`` too."""
    deadline_s: float = 600.0
    """Kill a worker that shows no sign of life (one batch looked at, one block read) for this many seconds; it counts
    as a death. More than your slowest batch takes. With ``executor=local`` a hang of those cannot be interrupted.
    With either, the planning of a scene, the first look at all of it, and each picture of it may take as long; a scene
    that takes longer is INVALID."""
    stuck_s: float = 300.0
    """Name the blocks in flight, and where they are, whenever none has finished for this many seconds."""

    def __post_init__(self) -> None:
        require(self.workers == "auto" or self.workers >= 1, "cluster.workers must be auto or at least 1")
        require(self.threads >= 1, "cluster.threads must be at least 1")
        require(self.in_flight >= 1, "cluster.in_flight must be at least 1")
        require(self.scenes == "auto" or self.scenes >= 1, "cluster.scenes must be auto or at least 1")
        require(self.start_s > 0 and self.wait_s > 0, "cluster.start_s and cluster.wait_s must be positive")
        require(self.max_attempts >= 1, "cluster.max_attempts must be at least 1")
        require(self.deadline_s > 0 and self.stuck_s > 0, "cluster.deadline_s and cluster.stuck_s must be positive")
