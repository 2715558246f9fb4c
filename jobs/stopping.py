"""Signals that tell a job to stop, all taken as Ctrl-C is.

SIGTERM (a pod that moves, ``ray job stop``, a batch system), SIGHUP (a terminal that closed) and Ctrl-C are one thing:
a KeyboardInterrupt in the main thread, so whatever holds something gives it back, and the exit code is 128 and the
signal's number. A second signal ends the process at once. So does the end of :data:`GRACE_S`, where a call into a
library did not return: who sends SIGTERM sends SIGKILL next, 30 s later on Kubernetes, and leases must be given back.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from pipeline.reporting.journal import silenced
from pipeline.storage.lease import give_back_all

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 20.0
"""Seconds for an orderly end; what is not done by then is left to the next job."""
SAME_S = 0.3
"""Signals this close are one: ``timeout`` and shells send theirs to the process and to its group."""


class Stopped(KeyboardInterrupt):
    """The process was told to stop, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stops:
    """A context manager: inside it, signals to stop raise :class:`Stopped` in the main thread, once.

    A signal that was being ignored (``nohup``, a shell's background job) stays ignored. Does nothing in other threads.
    """

    def __init__(self, late: Callable[[int], None]) -> None:
        """``late`` is told the exit code before a process that did not end in time is ended."""
        self.number: int | None = None
        """Of the signal that came first."""
        self._late = late
        self._before: dict[int, Any] = {}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():
            self._reading, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
            self._told = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, name="signals to stop", daemon=True)
            self._thread.start()
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread is None:
            return
        for number, handler in self._before.items():  # once told to stop, nothing is left to do but to end
            signal.signal(number, handler if self.number is None else signal.SIG_IGN)
        signal.set_wakeup_fd(self._told)
        os.close(self._writing)
        self._thread.join()
        os.close(self._reading)
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except OSError:  # a log on a full disk: Python would end with an error of its own
            silenced(sys.stderr)

    @property
    def exit_code(self) -> int:
        """Of a job that was stopped."""
        return 128 + (self.number or signal.SIGINT)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            raise Stopped(number)

    def _watch(self) -> None:
        """Sees signals also while the main thread is inside a library's call and runs no handler."""
        first, ends, code = 0.0, float("inf"), 0
        while True:
            wait_s = None if ends == float("inf") else max(0.0, ends - time.monotonic())
            if not select.select([self._reading], [], [], wait_s)[0]:
                with contextlib.suppress(Exception):
                    give_back_all()
                with contextlib.suppress(Exception):
                    self._late(code)
                os._exit(code)
            data = os.read(self._reading, 64)
            if not data:
                return
            for number in data:
                if number not in self._before:
                    continue
                if ends == float("inf"):
                    first = time.monotonic()
                    ends, code = first + GRACE_S, 128 + number
                elif time.monotonic() - first > SAME_S:
                    os._exit(128 + number)
