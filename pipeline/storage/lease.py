"""One job at a time on one thing, say a scene: a lease that its holder keeps renewing, and that expires when it stops.

The lease is a small file beside the folder of the thing. Nobody's clock is compared with anybody else's: who finds
a lease watches it for as long as it lasts, and takes it over only when it was not renewed meanwhile. The holder of a
lease on this machine whose process is gone is not waited for.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from pipeline.errors import SceneBusy, StorageError, tidying
from pipeline.names import brief
from pipeline.storage.files import create_file, json_object, read_file, remove_file, write_file
from pipeline.storage.paths import join
from pipeline.threads import pause


def this_machine() -> str:
    """This machine as a process sees it: host, boot, and the name space of its process ids."""
    boot, spaces = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [socket.gethostname()]
    parts += [boot.read_text().strip()] if boot.exists() else []
    parts += [str(spaces.stat().st_ino)] if spaces.exists() else []
    return " ".join(parts)


RENEWALS = 3
"""How often a lease is renewed in the time it lasts."""


def lease_uri(out_uri: str, name: str) -> str:
    """Where the lease of the thing ``name`` lies."""
    return join(out_uri, f".{name}.lease")


class Lease:
    """A context manager: inside it this process alone works on the thing. Enter raises SceneBusy or StorageError.

    Leaving it raises nothing: a lease that cannot be given back expires, which is said.
    """

    def __init__(self, out_uri: str, name: str, lasts_s: float, say: Callable[[str], None]) -> None:
        """``name``: of the thing, unique in ``out_uri``. ``lasts_s``: seconds without renewal after which others may
        take the lease over."""
        self._uri, self._name, self._lasts_s, self._say = lease_uri(out_uri, name), name, lasts_s, say
        self._token = uuid.uuid4().hex
        self._renewals = 0
        self._lost: str | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {name}", daemon=True)

    def __enter__(self) -> Lease:
        try:
            if not create_file(self._uri, self._content()):
                self._take_over()
            _HELD.add(self)
            self._thread.start()
        except KeyboardInterrupt:  # nobody calls __exit__ then
            self.give_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.give_back()

    def give_back(self) -> None:
        """Remove the lease where it is ours still."""
        self._done.set()
        _HELD.discard(self)
        left = (
            f"{self._name}: its lease {self._uri} could not be given back; the next job watches it for "
            f"{self._lasts_s:g} s and takes it over"
        )
        with tidying(self._say, left):
            if self._lost is None and self._mine():
                remove_file(self._uri)

    def is_lost(self) -> bool:
        """Whether this process knows already that it is another's, or may be; nothing is asked."""
        return self._lost is not None

    def check(self) -> None:
        """Raise SceneBusy when another job has taken over: what this one made must not be published."""
        if self._lost is None and not self._mine():
            self._lost = "another job took it over"
        if self._lost is not None:
            raise SceneBusy(f"this job lost its lease on {self._name}: {self._lost}; nothing more was written")

    def _content(self) -> bytes:
        process = psutil.Process()
        holder = {
            "token": self._token, "renewals": self._renewals, "machine": this_machine(), "pid": os.getpid(),
            "started": process.create_time(), "lasts_s": self._lasts_s,
        }  # fmt: skip
        return json.dumps(holder).encode()

    def _take_over(self) -> None:
        """Wait until the lease that is there is given back, abandoned, or renewed (then: SceneBusy)."""
        found = read_file(self._uri)
        holder = json_object(found)
        if not _is_gone(holder):
            wait_s = float(holder.get("lasts_s", self._lasts_s))
            self._say(f"{self._name}: another job holds it ({_named(holder)}); watching it for {wait_s:g} s")
            until = time.monotonic() + wait_s
            while time.monotonic() < until:
                pause(min(1.0, wait_s / 10))
                now = read_file(self._uri)
                if now is None and create_file(self._uri, self._content()):
                    return
                if now is not None and now != found:
                    raise SceneBusy(
                        f"another job is at work on {self._name} ({_named(json_object(now))}); wait for it, or stop it "
                        "and run this again"
                    )
        write_file(self._uri, self._content())
        # Two that watched the same dead lease write one after the other; the last word stands, and both read it.
        pause(min(1.0, self._lasts_s / 10))
        if not self._mine():
            raise SceneBusy(f"another job has just taken over {self._name}; wait for it to end")

    def _mine(self) -> bool:
        return bool(json_object(read_file(self._uri)).get("token") == self._token)

    def _keep(self) -> None:
        """Renew until the end; notice when the lease is gone."""
        renewed = time.monotonic()
        while not self._done.wait(self._lasts_s / RENEWALS):
            try:
                if not self._mine():
                    self._lost = "another job took it over"
                    return
                self._renewals += 1
                write_file(self._uri, self._content())
                renewed = time.monotonic()
            except StorageError as error:
                if time.monotonic() - renewed > self._lasts_s:
                    self._lost = f"it could not be renewed ({error})"
                    return


class Watch:
    """Whether somebody else's lease is held, for who has other things to do meanwhile and asks again later."""

    def __init__(self, out_uri: str, name: str, lasts_s: float) -> None:
        """``lasts_s``: seconds to watch a lease that does not say itself how long it lasts."""
        self._uri, self._lasts_s = lease_uri(out_uri, name), lasts_s
        self._found: bytes | None = None
        self._since = 0.0
        self._held: bool | None = None

    def held(self) -> bool | None:
        """True once it was renewed, False once it cannot be any more; None until that is known. Raises StorageError.

        Known at once is what was given back, and whose holder was a process of this machine that is no more.
        """
        if self._held is not None:
            return self._held
        now = read_file(self._uri)
        if now is None or _is_gone(json_object(now)):
            self._held = False
        elif self._found is None:
            self._found, self._since = now, time.monotonic()
        elif now != self._found:
            self._held = True
        elif time.monotonic() - self._since >= float(json_object(now).get("lasts_s", self._lasts_s)):
            self._held = False
        return self._held

    def clear(self) -> None:
        """Remove the lease of a holder that is no more. Raises StorageError."""
        remove_file(self._uri)


_HELD: set[Lease] = set()
"""Those of this process."""


def give_back_all() -> None:
    """Give back every lease of this process, which ends now: others need not watch them until they expire."""
    for lease in list(_HELD):
        lease.give_back()


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    if holder.get("machine") != this_machine():
        return False
    try:
        return bool(abs(psutil.Process(int(holder["pid"])).create_time() - float(holder["started"])) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False


def _named(holder: dict[str, Any]) -> str:
    host = str(holder.get("machine", "")).split(" ", 1)[0] or "unknown machine"
    return f"process {brief(str(holder.get('pid', 'unknown')))} on {brief(host)}"
