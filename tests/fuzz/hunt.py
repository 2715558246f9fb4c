"""Cases in worker processes, so that a crash or a hang is charged to the case that caused it, and the hunt goes on."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT
from tests.fuzz.mutations import make_case
from tests.fuzz.templates import templates

Start = Callable[[int, int, int, str], "subprocess.Popen[bytes]"]

START_S = 60.0
"""A worker imports its libraries in this time at most."""


@dataclass(slots=True)
class Tally:
    """What became of the cases of one template."""

    cases: int = 0
    opened: int = 0
    decoded: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    hangs: int = 0
    defects: list[tuple[int, str]] = field(default_factory=list)
    """(case, what was wrong), crashes and hangs among them."""


@dataclass(slots=True)
class _Worker:
    """A process at work on the cases ``[next, end)``."""

    process: subprocess.Popen[bytes]
    next: int
    end: int
    since: float
    buffer: bytes = b""
    started: bool = False


def start_worker(first: int, end: int, seed: int, folder: str) -> subprocess.Popen[bytes]:
    """A process that tries the cases ``[first, end)`` in folders of its own in ``folder``."""
    command = [sys.executable, "-m", "tests.fuzz.worker", str(seed), str(first), str(end), folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def hunt(
    cases: int, seed: int, *, workers: int, deadline_s: float, first: int = 0, start: Start = start_worker
) -> dict[str, Tally]:
    """Try cases ``[first, first + cases)`` of a seed; one tally per template."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    step = -(-cases // workers)
    spans = [(first + start_at, min(first + start_at + step, first + cases)) for start_at in range(0, cases, step)]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kestrel-fuzz-", ignore_cleanup_errors=True))
        selector = stack.enter_context(selectors.DefaultSelector())
        stack.callback(lambda: [key.data.process.kill() for key in selector.get_map().values()])

        def enlist(begin: int, end: int) -> None:
            process = start(begin, end, seed, folder)
            assert process.stdout is not None
            selector.register(process.stdout, selectors.EVENT_READ, _Worker(process, begin, end, time.monotonic()))

        for begin, end in spans:
            enlist(begin, end)
        while selector.get_map():
            for key, _ in selector.select(timeout=0.2):
                worker = key.data
                done = _listen(worker, tallies)
                if done:
                    selector.unregister(key.fileobj)
                    _charge(worker, tallies, "crashes", enlist)
            for key in list(selector.get_map().values()):
                worker = key.data
                if time.monotonic() - worker.since > (deadline_s if worker.started else START_S):
                    selector.unregister(key.fileobj)
                    worker.process.kill()
                    _charge(worker, tallies, "hangs", enlist)
    return dict(tallies)


def _listen(worker: _Worker, tallies: dict[str, Tally]) -> bool:
    """Take in what the worker says; True when it has gone."""
    assert worker.process.stdout is not None
    said = os.read(worker.process.stdout.fileno(), 1 << 16)
    worker.buffer += said
    *lines, worker.buffer = worker.buffer.split(b"\n")
    for line in lines:
        worker.since, worker.started = time.monotonic(), True
        if line == b"ready":
            continue
        answer = json.loads(line)
        assert answer["case"] == worker.next
        _count(tallies[templates()[worker.next % len(templates())].name], worker.next, answer)
        worker.next += 1
    return not said


def _count(tally: Tally, number: int, answer: dict[str, str | bool]) -> None:
    tally.cases += 1
    tally.opened += bool(answer["opened"])
    tally.decoded += bool(answer["decoded"])
    ended = str(answer["ended"])
    tally.ended[ended.split(" ", 1)[0]] += 1
    if ended.startswith("DEFECT"):
        tally.defects.append((number, ended))


def _charge(worker: _Worker, tallies: dict[str, Tally], fault: str, enlist: Callable[[int, int], None]) -> None:
    """After a worker has ended: nothing, or charge the case it was at and start another behind it."""
    code = worker.process.wait()
    assert worker.process.stdout is not None
    worker.process.stdout.close()
    if worker.next >= worker.end:
        return
    assert worker.started, f"a fuzz worker could not start (exit code {code})"
    tally = tallies[templates()[worker.next % len(templates())].name]
    tally.cases += 1
    setattr(tally, fault, getattr(tally, fault) + 1)
    tally.defects.append((worker.next, f"DEFECT {fault} (exit code {code})"))
    if worker.next + 1 < worker.end:
        enlist(worker.next + 1, worker.end)


def save_defects(tallies: dict[str, Tally], seed: int, folder: Path) -> Iterator[str]:
    """Write the bytes of every defect for later; one line of text for each."""
    for name, tally in tallies.items():
        for number, what in tally.defects:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"seed{seed}-case{number}.bin"
            path.write_bytes(make_case(seed, number).data)
            yield f"{name}: case {number} ({path}): {what}"


def table(tallies: dict[str, Tally]) -> str:
    """One row per template, and the sum."""
    total = Tally()
    for tally in tallies.values():
        for key in ("cases", "opened", "decoded", "crashes", "hangs"):
            setattr(total, key, getattr(total, key) + getattr(tally, key))
        total.ended += tally.ended
        total.defects += tally.defects
    errors = sorted(set(total.ended) - {"result", "DEFECT"})
    head = ["template", "cases", "opened", "decoded", "results", *errors, "crashes", "hangs", "defects"]
    rows = [head]
    for name, tally in [*tallies.items(), ("all", total)]:
        numbers = [tally.cases, tally.opened, tally.decoded, tally.ended["result"], *(tally.ended[e] for e in errors)]
        rows.append([name, *map(str, [*numbers, tally.crashes, tally.hangs, len(tally.defects)])])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
