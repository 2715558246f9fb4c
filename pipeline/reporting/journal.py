"""What a run says while it works: sentences for people, or one JSON object a line for machines. Never a secret.

A line is an event: a name, a sentence, and facts under fixed keys to search by (``scene_id``, ``run_id``, ``block_id``,
``tile_id``, ``node``, ``pid``, ``error``, ``reason``, ``seconds``, counts). People get the sentence, machines get all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from pipeline.errors import redacted


def to_stderr(line: str) -> None:
    """One line at once; results go to files. Work goes on where nobody reads it, or the log's disk is full."""
    if sys.stderr is None:  # it was closed before the process began
        return
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            silenced(sys.stderr)


def silenced(stream: TextIO) -> None:
    """What is written to ``stream`` goes nowhere from here on, what waits in it too."""
    with contextlib.suppress(OSError, ValueError):  # not every stream is a file of the system's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@dataclass(frozen=True, slots=True)
class Journal:
    """Where a run writes what happens."""

    write: Callable[[str], None] = to_stderr
    """Takes one line, without its end."""
    form: Literal["text", "json"] = "text"

    def emit(self, event: str, message: str | None = None, **facts: Any) -> None:
        """One event. Without a ``message`` it is for machines only; ``facts`` are what JSON can hold."""
        if self.form == "text":
            if message is not None:
                self.write(redacted(message))
            return
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        line |= {} if message is None else {"message": message}
        self.write(json.dumps(_fit(line | facts), allow_nan=False))

    def say(self, message: str) -> None:
        """A sentence without a name of its own."""
        self.emit("note", message)


def _fit(fact: Any) -> Any:
    """The same without secrets, and with null for numbers that are not finite."""
    if isinstance(fact, str):
        return redacted(fact)
    if isinstance(fact, float):
        return round(fact, 3) if math.isfinite(fact) else None
    if isinstance(fact, dict):
        return {key: _fit(value) for key, value in fact.items()}
    if isinstance(fact, list | tuple):
        return [_fit(value) for value in fact]
    return fact


class _Handler(logging.Handler):
    """Log records of the libraries as events."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.emit("library", record.getMessage(), logger=record.name, level=record.levelname.lower())


@contextmanager
def libraries_in(journal: Journal) -> Iterator[None]:
    """Inside, warnings and log records of all libraries, from WARNING on, become events of a ``json`` journal."""
    if journal.form == "text":
        yield
        return
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers[:] = [_Handler(journal)]
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before
