"""Every error a user can cause or meet, and the exit code it ends a run with.

::

    PipelineError                     what, where, and what to do about it, in one sentence
    ├── ConfigError(ValueError)           exit 2   the run is misconfigured
    │   ├── OutsideArea                       the area of interest does not touch the scene: among others it is skipped
    │   └── NoSuchBands                       the scene does not name the bands that the model looks at
    ├── SceneError                        exit 3   this input can never work
    │   ├── SceneNotFound(FileNotFoundError)
    │   ├── SceneUnreadable(OSError)
    │   └── SceneNotGeoreferenced(ValueError)
    ├── ModelError                        exit 4   weights that do not fit, NaN out of the network
    ├── StorageError(OSError)             exit 5   retried with backoff first
    │   └── SceneBusy                         another job is at work on the scene
    └── ClusterError                      exit 6   the pool cannot make progress
        └── DeadlineExceeded                  a read or a look showed no sign of life; its tile fails, not the run

A scene with more failed tiles than ``output.max_failed_tiles`` raises nothing and ends the run
with :data:`EXIT_TILES_FAILED`. Adapters translate the libraries' exceptions into these with
``raise … from``; the most specific class wins and nothing is matched by message text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar


@contextmanager
def tidying(say: Callable[[str], None], left: str) -> Iterator[None]:
    """Inside, what has served is removed: an OSError there (a StorageError is one) is said, and raised no further.

    Whatever the work came to by then, a result that is published or an error on its way, stays as it is. ``left`` tells
    what lies where now and what becomes of it; the reason is added.
    """
    try:
        yield
    except OSError as error:
        say(f"{left} ({error.strerror or error})")


EXIT_OK = 0
EXIT_TILES_FAILED = 7


def redacted(text: str) -> str:
    """``text`` without user names, passwords and query strings in the addresses it holds, fit for people and logs."""
    return re.sub(r"(\w+://)(?:[^/\s@]*@)?([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", r"\1\2", text)


class PipelineError(Exception):
    """Root of the tree: one sentence that says what, where, and what to do about it, and no credential."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, *said: object) -> None:
        super().__init__(*(redacted(one) if isinstance(one, str) else one for one in said))


class ConfigError(PipelineError, ValueError):
    """The run is misconfigured: an unknown key, a value out of range, two flags that exclude each other."""

    exit_code = 2


class OutsideArea(ConfigError):
    """The area of interest does not touch a scene."""


class NoSuchBands(ConfigError):
    """A scene has not the bands that the model looks at, or does not say which they are."""

    band_names: tuple[str, ...] = ()
    """What the scene calls its bands; nothing where it does not say."""


class SceneError(PipelineError):
    """This input can never work, however often it is tried."""

    exit_code = 3


class SceneNotFound(SceneError, FileNotFoundError):
    """There is nothing at the scene's URI (or this machine may not see it)."""


class SceneUnreadable(SceneError, OSError):
    """Something is there, but it is no raster of an allowed format, or it is damaged."""


class SceneNotGeoreferenced(SceneError, ValueError):
    """A CRS without a transform, or a transform without a CRS (a raster with neither is a pixel scene)."""


class ModelError(PipelineError):
    """Weights that cannot be loaded or do not fit, or a network that answers NaN."""

    exit_code = 4


class StorageError(PipelineError, OSError):
    """Reading or writing an output location failed, after retries."""

    exit_code = 5
    retryable = True


class SceneBusy(StorageError):
    """Another job is at work on the same scene, or has taken it over."""

    retryable = False


class ClusterError(PipelineError):
    """The pool of workers cannot make progress."""

    exit_code = 6


class DeadlineExceeded(ClusterError):
    """A read or a look showed no sign of life for ``cluster.deadline_s``, and was ended."""

    retryable = True


LONGEST_SENTENCE = 500
"""Characters of the longest sentence that is taken over from somebody else."""


def one_sentence(error: BaseException) -> str:
    """What an error says, on one line and never half of it; its class name when it says nothing.

    Libraries break lines inside their sentences: a line that ends in a colon, comma or bracket goes on in the next.
    What is longer than LONGEST_SENTENCE ends at a word, with an ellipsis.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said, *others = lines
    for line in others:
        if not said.endswith((":", ",", ";", "(", "[", "{")):
            break
        said = f"{said} {line}"
    if len(said) <= LONGEST_SENTENCE:
        return said
    words, _, cut = said[:LONGEST_SENTENCE].rpartition(" ")
    return f"{words or cut} …"
