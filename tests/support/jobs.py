"""One scene over and over, by jobs that may die; what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RunConfig
from pipeline.detectors.weights import load, model_card
from pipeline.engine.local import LocalExecutor
from pipeline.planning.plan import WorkOrder
from pipeline.reporting.journal import Journal
from pipeline.reporting.metrics import Metrics
from pipeline.runs.report import RunReport
from pipeline.runs.run import detect
from pipeline.types import Block, BlockOutcome

SAME_BYTES = ("detections.parquet", "detections.geojson", "detections.gpkg", "failures.parquet")
BUILTIN = "builtin:ships-s2"


class Dies(Exception):
    """Stands for whatever ends a process."""


@dataclass
class Mortal(LocalExecutor):
    """Does so many blocks and then dies; notes what it did."""

    blocks: int = 1 << 30
    done: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(lambda: load(BUILTIN, "cpu"))

    def map(self, order: WorkOrder, blocks: Sequence[Block], metrics: Metrics | None = None) -> Iterator[BlockOutcome]:
        for outcome in super().map(order, blocks, metrics):
            if len(self.done) == self.blocks:
                raise Dies
            self.done.append(outcome.block_id)
            yield outcome


@dataclass
class Job:
    """The same scene over and over, into one folder."""

    config: RunConfig
    said: list[str] = field(default_factory=list)

    def run(self, blocks: int = 1 << 30, **changes: Any) -> tuple[RunReport | None, list[int]]:
        """The report (None when it died) and the blocks it did."""
        executor = Mortal(blocks=blocks)
        card = model_card(BUILTIN)
        try:
            return detect(replace(self.config, **changes), card, executor, Journal(self.said.append)), executor.done
        except Dies:
            return None, executor.done

    @property
    def folder(self) -> Path:
        return Path(self.config.out) / "harbour"

    def bytes(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in SAME_BYTES}

    def record(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return content


one_look = pytest.mark.parametrize("job", ["one look"], indirect=True)


def fresh(job: Job, out: Path, **changes: Any) -> Job:
    """The same job, with nothing done before."""
    other = Job(replace(job.config, out=str(out), **changes))
    report, _ = other.run()
    assert report is not None
    assert report.exit_code == 0
    return other
