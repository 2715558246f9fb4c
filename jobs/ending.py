"""How every job ends that is told to stop, or that nobody reads any more: one path, one set of exit codes.

SIGTERM (a pod that moves, ``ray job stop``, a batch system), SIGHUP (a terminal that closed) and Ctrl-C are one thing:
a KeyboardInterrupt in the main thread, so whatever holds something gives it back, and the exit code is 128 and the
signal's number. A second signal ends the process at once. So does the end of :data:`GRACE_S`, where a call into a
library did not return: who sends SIGTERM sends SIGKILL next, 30 s later on Kubernetes, and leases must be given back.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

from pipeline.errors import PipelineError, StorageError
from pipeline.reporting.journal import silenced, to_stderr
from pipeline.storage.lease import give_back_all

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 20.0
"""Seconds for an orderly end; what is not done by then is left to the next job."""
SAME_S = 0.3
"""Signals this close are one: ``timeout`` and shells send theirs to the process and to its group."""
EXIT_UNREAD = 128 + signal.SIGPIPE
"""Of a command whose output nobody reads any more, as other tools have it."""


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


def job(stopped: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Makes of a function that works and returns an exit code the ``main`` of a command.

    Errors of ours end in one sentence, ``stopped`` is what a job says that was told to stop, and one whose output
    nobody reads says nothing.
    """

    def made(work: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(work)
        def main(*given: Any, **named: Any) -> int:
            with Stops(lambda _: to_stderr(f"{stopped} (it did not end within {GRACE_S:g} s)")) as stops:
                try:
                    with printing():
                        return work(*given, **named)
                except Unread as error:
                    return error.exit_code
                except PipelineError as error:
                    if stops.number is None:
                        to_stderr(f"error: {error}")
                        return error.exit_code
                    to_stderr(stopped)
                    return stops.exit_code
                except KeyboardInterrupt:
                    to_stderr(stopped)
                    return stops.exit_code

        return main

    return made


class Unread(Exception):
    """Standard output takes nothing any more. No OSError: argparse would keep such a one to itself."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.exit_code = EXIT_UNREAD if isinstance(reason, BrokenPipeError) else StorageError.exit_code


class _Output:
    """A stream that raises :class:`Unread` where it cannot be written to, and leads nowhere from then on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._noticed():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._noticed():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            silenced(self._stream)  # or Python would end with an error of its own when it empties the stream
            if not isinstance(error, BrokenPipeError):  # a reader that left is no error, and nothing is said
                to_stderr(f"error: standard output cannot be written: {error.strerror}")
            raise Unread(error) from error


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Inside, output that goes nowhere raises Unread; what was printed is written at the end, argparse's help too."""
    if sys.stdout is None:  # it was closed before the process began
        yield
        return
    output = _Output(sys.stdout)
    with contextlib.redirect_stdout(output):
        try:
            yield
        finally:
            output.flush()


def to_stdout(line: str) -> None:
    """A line of progress at once; work goes on where nobody reads it."""
    with contextlib.suppress(Unread):
        print(line, flush=True)
