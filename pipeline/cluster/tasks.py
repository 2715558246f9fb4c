"""Pure functions as Ray tasks: a bounded number at a time, answers in order. Part of Ray's home."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.errors import ClusterError, one_sentence
from pipeline.retrying import PATIENCE


def _apply(function: Callable[[Any], Any], part: Any) -> Any:
    return function(part)


_apply_task: Any = ray.remote(num_cpus=0, max_retries=PATIENCE.task_retries, scheduling_strategy="SPREAD")(_apply)


def run_tasks(function: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
    """``function(part)`` of every part, in order, on as many tasks at a time as the cluster has CPUs.

    The tasks ask for no CPU: the actors of the pool are idle while such work is done, but hold on to theirs. A task
    whose process or node dies is run again. What the function raises is raised here; ClusterError when a task keeps
    dying.
    """
    places = max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[Any] = deque()
    doing = getattr(function, "__name__", type(function).__name__)
    for number, part in enumerate(parts):
        if len(waiting) == places:
            yield _answer(waiting.popleft())
        waiting.append(_apply_task.options(name=f"{doing} part {number}").remote(function, part))
    while waiting:
        yield _answer(waiting.popleft())


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from error
    except RayError as error:
        raise ClusterError(
            f"a task of the cluster came to nothing ({one_sentence(error)}); look at the memory of the nodes"
        ) from error
