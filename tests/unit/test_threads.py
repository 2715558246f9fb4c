"""Threads that are told to stop, and warnings that one of them does not want."""

from __future__ import annotations

import threading
import time
import warnings

import pytest

from pipeline.errors import StorageError
from pipeline.retrying import Patience, retried
from pipeline.runs.in_time import in_time
from pipeline.storage.lease import Lease
from pipeline.threads import Halt, Halted, look_up, pause, unwarned


def test_only_threads_that_heed_a_halt_are_stopped() -> None:
    halt = Halt()
    look_up()
    with halt.heeded():
        look_up()
        halt.tell()
        with pytest.raises(Halted):
            look_up()
        with pytest.raises(Halted):
            pause(60)
    look_up()
    pause(0.0)


@pytest.mark.parametrize("waiting", ["a store that fails", "a lease", "a library's call"])
def test_who_waits_is_stopped_too(waiting: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """For the next attempt at something, for another job's lease to expire, for a file that is being opened."""
    lease = Lease(str(tmp_path), "scene", 60.0, lambda _: None)

    def fails() -> None:
        raise StorageError("503")

    def wait() -> None:
        if waiting == "a lease":
            (tmp_path / ".scene.lease").write_text('{"token": "another", "machine": "elsewhere"}')
            with lease:
                raise AssertionError("it is another's")
        elif waiting == "a library's call":
            in_time(lambda: time.sleep(5), "a.tif", "planning", 60)
        else:
            retried(fails, lambda _: True, "key", Patience(pauses_s=(60.0,)))

    halt = Halt()
    threading.Timer(0.3, halt.tell).start()
    began = time.monotonic()
    with halt.heeded(), pytest.raises(Halted):
        wait()
    assert time.monotonic() - began < 4
    if waiting == "a lease":
        assert "another" in (tmp_path / ".scene.lease").read_text()


def test_warnings_are_kept_back_while_any_thread_wants_that() -> None:
    """The one that came first leaves first: catch_warnings would bring its filters back for both, and never theirs."""
    inside, left = threading.Event(), threading.Event()
    heard: list[int] = []

    def other() -> None:
        with unwarned(UserWarning, "of no use"):
            inside.set()
            left.wait(5)
            with warnings.catch_warnings(record=True) as caught:
                warnings.warn("of no use to anybody", UserWarning, stacklevel=1)
            heard.append(len(caught))

    thread = threading.Thread(target=other)
    before = list(warnings.filters)
    with unwarned(UserWarning, "of no use"):
        thread.start()
        inside.wait(5)
    left.set()
    thread.join()
    assert heard == [0]
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="of use"), unwarned(UserWarning, "of no use"):
        warnings.warn("of use", UserWarning, stacklevel=1)
