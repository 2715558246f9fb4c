"""Scenes in threads: drawn when they may begin, told of when they end, stopped together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.errors import ModelError
from pipeline.reporting.progress import Progress
from pipeline.runs.at_once import at_once
from pipeline.runs.context import SILENT
from pipeline.runs.report import SceneReport
from pipeline.threads import Halted, pause

LONG_S = 60.0


def report_of(name: str, exit_code: int = 0) -> SceneReport:
    return SceneReport(uri=name, scene_id=name, status="PUBLISHED", exit_code=exit_code, message="")


def test_a_scene_is_drawn_only_when_it_may_begin_and_told_of_in_the_calling_thread() -> None:
    """However many there are: at no time is more drawn than is at work, nor more at work than allowed."""
    drawn: list[int] = []
    told: list[str] = []
    most = 0

    def scene(number: int) -> SceneReport:
        pause(0.002 * (number % 5))
        return report_of(str(number))

    def scenes() -> Iterator[Callable[[], SceneReport]]:
        nonlocal most
        for number in range(200):
            drawn.append(number)
            most = max(most, len(drawn) - len(told))
            yield lambda number=number: scene(number)  # type: ignore[misc]

    def ended(report: SceneReport) -> None:
        assert threading.current_thread() is threading.main_thread()
        told.append(report.uri)

    progress = Progress(SILENT)
    at_once(scenes(), 4, ended, progress)
    assert sorted(told, key=int) == [str(number) for number in range(200)]
    assert told != sorted(told, key=int), "in order of ending"
    assert most == 4
    assert (progress.ended, progress.not_published) == (200, 0)


def test_a_scene_has_let_go_of_everything_when_it_is_told_of() -> None:
    """The last hold on the network must not be that of a thread that is still ending: a process that ends meanwhile
    aborts after its work was done."""

    class Scene:
        def __call__(self) -> SceneReport:
            time.sleep(0.2)  # until the calling thread holds it no more
            return report_of("one")

        def __del__(self) -> None:
            time.sleep(0.2)
            released.append(threading.current_thread().name)

    released: list[str] = []
    told: list[list[str]] = []
    at_once((Scene() for _ in range(1)), 2, lambda _: told.append(list(released)), Progress(SILENT))
    assert told == [["scene"]]


def test_one_at_a_time_is_the_calling_thread() -> None:
    threads: list[threading.Thread] = []

    def scene() -> SceneReport:
        threads.append(threading.current_thread())
        return report_of("one")

    at_once([scene, scene], 1, lambda _: None, Progress(SILENT))
    assert threads == [threading.main_thread()] * 2


class Others:
    """Two scenes beside one that ends the run: one waits for something, one cannot be stopped any more."""

    def __init__(self) -> None:
        self.begun, self.halted, self.told = threading.Barrier(3), False, list[str]()

    def waits(self) -> SceneReport:
        self.begun.wait(5)
        try:
            pause(LONG_S)
        except Halted:
            self.halted = True
            raise
        raise AssertionError("it was not told to stop")

    def is_published(self) -> SceneReport:
        self.begun.wait(5)
        time.sleep(0.3)
        return report_of("published")

    def ended(self, report: SceneReport) -> None:
        self.told.append(report.uri)


@pytest.mark.parametrize("error", [ModelError("it answers NaN"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_what_ends_the_run_stops_the_others_and_is_raised_when_they_have(error: BaseException) -> None:
    others = Others()

    def fails() -> SceneReport:
        others.begun.wait(5)
        raise error

    began, threads = time.monotonic(), threading.active_count()
    with pytest.raises(type(error)):
        at_once([others.waits, others.is_published, fails], 3, others.ended, Progress(SILENT))
    assert time.monotonic() - began < LONG_S / 2
    assert others.halted
    assert others.told == ["published"], "what was published all the same is told of"
    assert threading.active_count() == threads


def test_who_is_told_of_scenes_may_end_the_run_too() -> None:
    others = Others()

    def ends() -> SceneReport:
        others.begun.wait(5)
        return report_of("first", exit_code=7)

    def ended(report: SceneReport) -> None:
        others.ended(report)
        if report.uri == "first":
            raise OSError("the ledger cannot be written")

    progress = Progress(SILENT)
    with pytest.raises(OSError, match="ledger"):
        at_once([others.waits, others.is_published, ends], 3, ended, progress)
    assert others.halted
    assert others.told == ["first", "published"]
    assert (progress.ended, progress.not_published) == (2, 1)
