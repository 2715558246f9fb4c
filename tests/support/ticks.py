"""Ticks of ingestion over small real scenes, with a detector that knows the answer: here, or in a process to kill."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.command_line import run_from
from pipeline.detectors.protocol import Detector
from pipeline.engine.local import LocalExecutor
from pipeline.errors import PipelineError
from pipeline.ingest import claims, ledger, orphans, retries
from pipeline.ingest.entry import Entry
from pipeline.ingest.feed_file import read_feed
from pipeline.ingest.feeds import scenes
from pipeline.ingest.filters import why_skipped
from pipeline.ingest.ledger import Ledger
from pipeline.ingest.tick import Bounds, Tick, TickReport, Tools
from pipeline.ingest.verbs import tell_catalogue
from pipeline.ingest.withdrawing import tell_withdrawn
from pipeline.reporting.journal import Journal
from pipeline.runs.report import SceneReport
from pipeline.runs.run import SceneTask, detect_scenes
from pipeline.synth.oracle import OracleDetector
from pipeline.types import Chip, ModelCard
from tests.support.faults import Wrapped
from tests.support.scenes import picture, write_geotiff

CARD = ModelCard(name="oracle", sha256="0" * 64, classes=("boat",), bands=("red", "green", "blue"), input_px=64,
                 gsd_m=None, oriented=True, licence="CC0-1.0")  # fmt: skip
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
RUN = {"executor": "local", "output.preview_px": 0, "raster.stretch": "fixed", "raster.stretch_range": [0, 255],
       "tiling.tile_px": 64, "tiling.halo_px": 0, "work.lease_s": 5.0}  # fmt: skip


def write_scene(path: Path, seed: int, *, taken: str | None = None, bands: int = 3) -> Path:
    """64 x 64 pixels; a second call with another seed is another version. Its place is taken at once."""
    part = path.with_name(f".{path.name}")
    tags = {} if taken is None else {"TIFFTAG_DATETIME": taken}
    write_geotiff(part, picture(64, 64, bands=bands, seed=seed), tags=tags)
    return part.replace(path)


def write_feed(folder: Path, address: object, name: str = "boats", **sections: Any) -> Path:
    """A feed file of a folder; ``sections``: ``filter``, more of ``source``, ``run``."""
    source = {"kind": "folder", "address": str(address), **sections.pop("source", {})}
    run = _nested({**RUN, **sections.pop("run", {})})
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "source": source, "run": run, **sections}))
    return path


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        if dot:
            nested.setdefault(section, {})[name] = value
        else:
            nested[key] = value
    return nested


def oracle() -> Detector:
    """Answers one boat in every scene."""
    return OracleDetector(np.array([[32.0, 32.0, 12.0, 6.0, 0.3]]), card=CARD)


@dataclass
class Slow(Wrapped):
    """Takes its time."""

    seconds: float = 0.0

    def before(self, chips: Sequence[Chip]) -> None:
        time.sleep(self.seconds)


@dataclass
class Went:
    """What a tick in this process did."""

    report: TickReport
    begun: list[str]
    """Ids of the scenes it detected, in order of beginning."""
    collected: list[frozenset[str] | None]
    said: list[str]


def tick(
    feed_file: Path, out: Path | str, *, detector: Callable[[], Detector] = oracle, retry: str | None = None,
    began: Callable[[SceneTask], None] = lambda _: None, collect: Callable[[Any], None] = lambda _: None,
    **bounds: Any,
) -> Went:  # fmt: skip
    """One tick in this process."""
    feed = read_feed(str(feed_file))
    base = run_from({**feed.run, "out": str(out)})
    begun: list[str] = []
    collected: list[frozenset[str] | None] = []
    said: list[str] = []
    journal = Journal(said.append)
    executor = LocalExecutor(detector)

    def noted(tasks: Iterable[SceneTask]) -> Iterator[SceneTask]:
        for task in tasks:
            begun.append(task.config.scene_id)
            began(task)
            yield task

    def detect(tasks: Iterable[SceneTask], in_flight: int | None, ended: Callable[[SceneReport], None]) -> None:
        detect_scenes(noted(tasks), CARD, executor, journal, in_flight=in_flight or executor.scenes, ended=ended)

    def told(scene_ids: Collection[str] | None) -> None:
        collect(scene_ids)
        collected.append(None if scene_ids is None else frozenset(scene_ids))

    tools = Tools(unwanted=lambda scene: why_skipped(scene, feed.filter), detect=detect, collect=told,
                  note=lambda ledger: tell_withdrawn(str(out), ledger, journal.say))  # fmt: skip
    one = Tick(feed, base, Bounds(**bounds), tools, journal)
    return Went(one.run(partial(scenes, feed), retry), begun, collected, said)


def entries(out: Path | str) -> dict[str, Entry]:
    """What the ledger says, by the last part of the keys."""
    known = Ledger(str(out), lambda _: None)
    known.load()
    return {record.entry.key.rsplit("/", 1)[-1]: record.entry for record in known.records()}


def states(out: Path | str) -> dict[str, str]:
    """Scene → state."""
    return {name: str(entry.state) for name, entry in sorted(entries(out).items())}


def main(argv: Sequence[str], log: Path) -> int:
    """A tick as a process; what it did goes to ``log``, a JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("feed", type=Path)
    parser.add_argument("out")
    parser.add_argument("--slow-s", type=float, default=0.0)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--lease-s", type=float, default=10.0)
    parser.add_argument("--dies-with", default="")
    parser.add_argument("--clock-s", type=float, default=0.0)
    parser.add_argument("--pause-s", type=float, default=retries.PAUSES_S[0])
    parser.add_argument("--endpoint", default="")
    given = parser.parse_args(argv)
    _set_clock(given.clock_s)
    retries.PAUSES_S = (given.pause_s,)
    if given.endpoint:  # a forked process has the environment of the one that forks
        os.environ |= {**KEYS, "AWS_ENDPOINT_URL": given.endpoint}

    def told(**facts: Any) -> None:
        with log.open("a") as lines:
            lines.write(json.dumps(facts) + "\n")

    def began(task: SceneTask) -> None:
        told(begun=task.config.scene_id)
        if given.dies_with and given.dies_with in task.uri:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        went = tick(given.feed, given.out, detector=lambda: Slow(oracle(), seconds=given.slow_s), began=began,
                    collect=partial(tell_catalogue, given.out, Journal(lambda _: None)), in_flight=given.in_flight,
                    lease_s=given.lease_s)  # fmt: skip
    except PipelineError as error:
        told(error=str(error))
        return error.exit_code
    told(ended=dict(went.report.ended), error=str(went.report.error), said=went.said[-5:])
    return 0 if went.report.error is None else went.report.error.exit_code


FORKING = multiprocessing.get_context("forkserver")
"""Processes that begin with everything imported: a tenth of a second each."""
FORKING.set_forkserver_preload(["tests.support.ticks"])


@contextlib.contextmanager
def started(log: Path, feed: Path, out: object, *flags: object) -> Iterator[BaseProcess]:
    """A tick as a process of its own, that can be killed; killed at the end, if it is there still."""
    process = FORKING.Process(target=_exit, args=([str(feed), str(out), *map(str, flags)], log))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _exit(argv: Sequence[str], log: Path) -> None:
    sys.exit(main(argv, log))


def _set_clock(off_s: float) -> None:
    """Everything in this process that asks for the time is so many seconds off."""
    if off_s:
        real = time.time
        time.time = lambda: real() + off_s
        for module in (claims, ledger, orphans):
            module.datetime = _Off  # type: ignore[attr-defined]
        _Off.by = timedelta(seconds=off_s)


class _Off(datetime):
    """A clock that is so much off."""

    by = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + cls.by
