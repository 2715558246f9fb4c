"""A listener that nobody may call: proof that reading a file led to no address."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Witness:
    """``url`` is the address to write into hostile files."""

    url: str
    listener: socket.socket

    def called(self) -> bool:
        """Whether anybody tried to connect."""
        return bool(select.select([self.listener], [], [], 0.05)[0])


@contextlib.contextmanager
def witness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    """Listens and never answers; who calls it all the same gives up after two seconds."""
    for name in ("GDAL_HTTP_TIMEOUT", "GDAL_HTTP_CONNECTTIMEOUT"):
        monkeypatch.setenv(name, "2")
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield Witness(f"http://127.0.0.1:{listener.getsockname()[1]}", listener)
