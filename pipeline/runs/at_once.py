"""Several scenes of a run at once: each one's way is sequential code, in a thread of its own.

While one is planned, another is looked at and a third is published. Memory depends on how many they are at once, not on
how many there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from pipeline.reporting.progress import Progress
from pipeline.runs.report import SceneReport
from pipeline.threads import LOOK_UP_S, Halt

Scene = Callable[[], SceneReport]
"""A scene from its plan to its report; raises what ends the run."""


def at_once(scenes: Iterable[Scene], in_flight: int, ended: Callable[[SceneReport], None], progress: Progress) -> None:
    """Do all ``scenes``, at most ``in_flight`` at a time; ``ended`` is called in this thread, in order of ending.

    A scene is drawn only when it may begin. Whatever is raised, here or by a scene, tells the others to stop, and is
    raised when they have: who was being published by then is, and is told of.
    """
    if in_flight <= 1:
        for one in scenes:
            _told(one(), ended, progress)
        return
    threads, todo, more = _Threads(), iter(scenes), True
    try:
        while more or threads.count:
            if more and threads.count < in_flight:
                scene = next(todo, None)
                if scene is None:
                    more = False
                else:
                    threads.start(scene)
            else:
                _told(threads.take(progress), ended, progress)
    finally:
        for report in threads.stop():
            _told(report, ended, progress)


def _told(report: SceneReport, ended: Callable[[SceneReport], None], progress: Progress) -> None:
    progress.end(published=report.exit_code == 0)
    ended(report)
    progress.look_up()


class _Threads:
    """The scenes at work, and how they end."""

    def __init__(self) -> None:
        self._halt = Halt()
        self._threads: list[threading.Thread] = []
        self._ends: SimpleQueue[tuple[threading.Thread, SceneReport | BaseException]] = SimpleQueue()

    @property
    def count(self) -> int:
        """Scenes at work."""
        return len(self._threads)

    def start(self, scene: Scene) -> None:
        def work() -> None:
            with self._halt.heeded():
                try:
                    end: SceneReport | BaseException = scene()
                except BaseException as error:  # noqa: BLE001 - raised in the thread of the run
                    end = error
            self._ends.put((thread, end))

        thread = threading.Thread(target=work, name="scene", daemon=True)
        self._threads.append(thread)
        thread.start()

    def take(self, progress: Progress) -> SceneReport:
        """The next one that ends; raises what it raised."""
        while True:
            try:
                thread, end = self._ends.get(timeout=LOOK_UP_S)
            except Empty:
                progress.look_up()
                continue
            self._threads.remove(thread)
            thread.join()  # or it may be the last to hold the network, and a process that ends then aborts
            if isinstance(end, BaseException):
                raise end
            return end

    def stop(self) -> list[SceneReport]:
        """Tell those at work to stop, and wait until they have; the reports of those that were published all the same.

        Nothing to do when all have ended.
        """
        self._halt.tell()
        for thread in self._threads:
            thread.join()
        ends = [self._ends.get() for _ in range(self._ends.qsize())]
        return [end for _, end in ends if isinstance(end, SceneReport)]
