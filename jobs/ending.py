"""How every job ends: one set of exit codes and sentences, whoever told it to stop or does not read it any more."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from jobs.stopping import GRACE_S, Stops
from pipeline.errors import PipelineError, StorageError
from pipeline.reporting.journal import silenced, to_stderr

EXIT_UNREAD = 128 + signal.SIGPIPE
"""Of a command whose output nobody reads any more, as other tools have it."""


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
