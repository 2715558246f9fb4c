"""Real servers on the loopback interface: HTTP with range requests, counted; and S3 (moto's server, a process)."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

BUCKET = "scenes"


@dataclass
class Traffic:
    """What a server was asked for, and how much it sent."""

    url: str
    """Address of the served folder, without a slash at the end."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(method, path, Range header) in order of arrival."""
    bytes_sent: int = 0
    """Bytes of bodies."""
    silent_from: int | None = None
    """From now on, ranges that reach this byte are never answered."""
    silence: threading.Event = field(default_factory=threading.Event)
    """Set when the server ends, so that its silent threads end too."""

    silenced: threading.Event = field(default_factory=threading.Event)
    """Set when somebody waits for a range that is never answered."""

    def clear(self) -> None:
        self.requests.clear()
        self.bytes_sent = 0


class RangeHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the files of its server's folder, whole or the range asked for."""

    protocol_version = "HTTP/1.1"
    server: RangeServer

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def _answer(self, *, send_body: bool) -> None:
        path, wanted = self.path.partition("?")[0], self.headers.get("Range")
        file = self.server.folder / path.lstrip("/")
        status = self.server.statuses.get(path, 200 if file.is_file() else 404)
        body = file.read_bytes() if status == 200 else b""
        headers = {"Accept-Ranges": "bytes"} if self.server.ranges else {}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        if status == 200 and match and self.server.ranges:
            start, end = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
            if self.server.traffic.silent_from is not None and end >= self.server.traffic.silent_from:
                self.server.traffic.silenced.set()
                self.server.traffic.silence.wait()
                return
            headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
            body, status = body[start : end + 1], 206
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.server.count((self.command, path, wanted), len(body) if send_body else 0)
        if send_body:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests read the traffic, not a log."""


class RangeServer(ThreadingHTTPServer):
    """An HTTP server of one folder that keeps count."""

    daemon_threads = True

    def __init__(self, folder: Path, ranges: bool, statuses: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), RangeHandler)
        self.folder, self.ranges, self.statuses = folder, ranges, statuses
        self.traffic = Traffic(url=f"http://127.0.0.1:{self.server_address[1]}")
        self._lock = threading.Lock()

    def count(self, request: tuple[str, str, str | None], sent: int) -> None:
        with self._lock:
            self.traffic.requests.append(request)
            self.traffic.bytes_sent += sent

    def handle_error(self, *_: object) -> None:
        """GDAL hangs up as soon as it has enough; that is no error."""


@contextlib.contextmanager
def http_server(folder: Path, *, ranges: bool = True, statuses: dict[str, int] | None = None) -> Iterator[Traffic]:
    """Serve ``folder``. Without ``ranges`` the Range header is ignored, as simple servers do.

    ``statuses`` maps a path such as ``/gone.tif`` to the HTTP status it is answered with.
    """
    server = RangeServer(folder, ranges, statuses or {})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.traffic
    finally:
        server.traffic.silence.set()
        server.shutdown()
        server.server_close()
        thread.join()


S3_SERVER = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import main

answer, lock = DomainDispatcherApplication.__call__, threading.Lock()

def answer_in_turn(self, environ, start_response):
    if not environ.keys() & {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"}:
        return answer(self, environ, start_response)
    with lock:
        return answer(self, environ, start_response)

DomainDispatcherApplication.__call__ = answer_in_turn
main(sys.argv[1:])
"""
"""moto's server looks at the condition of a write and then writes, and other threads come in between: S3 does not."""


@contextlib.contextmanager
def s3_process() -> Iterator[str]:
    """An S3 server (moto's) as a process of its own, empty; yields its address.

    The caller points AWS_ENDPOINT_URL at it and gives any AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """
    command = [sys.executable, "-c", S3_SERVER, "-H", "127.0.0.1", "-p", "0"]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            yield _announced(server, log)
        finally:
            server.terminate()


def _announced(server: subprocess.Popen[bytes], log: IO[str]) -> str:
    """The address a server that was just started prints."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        log.seek(0)
        if found := re.search(r"Running on (http://\S+)\n", log.read()):
            return found[1]
        time.sleep(0.05)
    log.seek(0)
    raise RuntimeError(f"the S3 server did not start: {log.read()[-500:]}")


def s3_client(address: str) -> Any:
    """A plain client, beside every path the pipeline takes."""
    import boto3

    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="test",
                        aws_secret_access_key="test")  # fmt: skip


def fill_bucket(address: str, folder: Path | None = None, name: str = BUCKET) -> None:
    """A new bucket that holds the files of ``folder``."""
    client = s3_client(address)
    client.create_bucket(Bucket=name)
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.is_file():
            client.upload_file(str(path), name, str(path.relative_to(folder)))


@contextlib.contextmanager
def s3_server(folder: Path | None = None) -> Iterator[str]:
    """An S3 server of its own whose bucket BUCKET holds the files of ``folder``; yields its address."""
    with s3_process() as address:
        fill_bucket(address, folder)
        yield address
