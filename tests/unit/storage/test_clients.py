"""File systems behind addresses: made once in an environment, asked again, told without secrets."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import fsspec
import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.retrying import PATIENCE
from pipeline.storage.clients import remote
from pipeline.storage.folders import check_writable


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries without waiting; the pauses asked for."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def test_an_unknown_kind_of_address_names_the_extras() -> None:
    with pytest.raises(ConfigError, match="extras"):
        check_writable("nosuch://out")


def test_a_passing_fault_is_tried_again_and_a_lasting_one_reported(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, no_pauses: list[float]
) -> None:
    faults, pipe = [ConnectionError("reset"), TimeoutError("slow")], memory.pipe_file

    def flaky(_: object, path: str, data: bytes) -> None:
        if faults:
            raise faults.pop()
        pipe(path, data)

    monkeypatch.setattr(type(memory), "pipe_file", flaky)
    check_writable("memory://out")
    assert no_pauses == list(PATIENCE.pauses("cannot write to memory://out"))[:2]
    assert all(base <= pause <= 1.25 * base for base, pause in zip((0.5, 2.0), no_pauses, strict=True))
    faults.extend(ConnectionError("https://me:secret@host/x?X-Amz-Signature=abc refused") for _ in range(9))
    with pytest.raises(StorageError, match="after 4 attempts: ConnectionError: https://host/x refused"):
        check_writable("memory://out")


def test_a_lasting_refusal_is_not_tried_again(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, no_pauses: list[float]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(type(memory), "pipe_file", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        check_writable("memory://out")
    assert no_pauses == []


class SlowStore(fsspec.AbstractFileSystem):
    """A store whose client takes a while to make, and keeps the key it found in the environment."""

    protocol = "slowstore"
    began, go = threading.Event(), threading.Event()

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.key = os.environ["SLOW_KEY"]
        self.began.set()
        assert self.go.wait(60)


def test_a_client_is_never_of_another_environment_however_threads_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key changes while one thread makes its client, and another is the first to see that: either gets new ones."""
    fsspec.register_implementation("slowstore", SlowStore, clobber=True)
    monkeypatch.setenv("SLOW_KEY", "old")
    changed = threading.Event()

    def ask_twice() -> list[str]:
        first, _ = remote("slowstore://out")
        assert changed.wait(60)
        second, _ = remote("slowstore://out")
        return [first.key, second.key]

    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(ask_twice)
        assert SlowStore.began.wait(60)
        monkeypatch.setenv("SLOW_KEY", "new")
        late = pool.submit(lambda: remote("slowstore://out")[0].key)
        wait([late], timeout=0.5)  # without a lock it looks at the environment now
        SlowStore.go.set()
        assert late.result(60) == "new"
        changed.set()
        assert early.result(60) == ["old", "new"]
    assert remote("slowstore://out")[0] is remote("slowstore://out")[0], "in one environment a client is made once"


def test_a_client_is_found_while_another_thread_changes_the_environment() -> None:
    """Variables come and go under the look at them."""
    stop, variables = threading.Event(), [f"KESTREL_TEST_{number}" for number in range(20)]

    def toggle() -> None:
        while not stop.is_set():
            os.environ.update(dict.fromkeys(variables, "1"))
            for name in variables:
                del os.environ[name]

    pace = sys.getswitchinterval()
    with ThreadPoolExecutor(1) as pool:
        toggling = pool.submit(toggle)
        try:
            sys.setswitchinterval(1e-6)
            for _ in range(3000):
                assert remote("memory://out")[1] == "/out"
        finally:
            sys.setswitchinterval(pace)
            stop.set()
        toggling.result(60)
