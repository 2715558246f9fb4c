"""A reverse proxy before an HTTP server (an object store, say) that fails on purpose and tells no lies.

It forwards method, path, headers and bodies as they are, keeps count of what crosses it, and lets requests fail the
way networks and stores do. What arrives whole is what the server said.

In a test::

    with fault_proxy(store_url, Faults(shares={Fault.BUSY: 0.2}, seed=1)) as proxy:
        ...                                  # talk to proxy.url
        proxy.faults = Faults.storm()        # from here on every request is answered 503
        proxy.faults = Faults()              # the storm is over
        proxy.traffic.requests               # what crossed it so far

The proxy is a process of its own: ``python -m tests.support.fault_proxy UPSTREAM [PORT]`` prints its address.
``PUT /-/faults`` with the JSON of :meth:`Faults.to_json` sets the faults, ``GET /-/traffic`` tells the traffic,
``DELETE /-/traffic`` forgets it (no bucket is called ``-``); any process may open a ``FaultProxy(url)`` on it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.proxy_faults import Fault, Faults, Request, Traffic

CHUNK = 1 << 16
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect", "proxy-connection"}
"""Headers that concern one connection, not the message: each side has its own."""
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message><RequestId>fault</RequestId></Error>"
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._faults, self._ordinal = Faults(), 0

    def set_faults(self, faults: Faults) -> None:
        with self._lock:
            self._faults, self._ordinal = faults, 0

    def draw(self, method: str, path: str) -> tuple[Fault | None, float]:
        """The fate of the request that just came in, and the length of a delay."""
        with self._lock:
            if not self._faults.concern(method, path):
                return None, 0.0
            fault = self._faults.of(self._ordinal)
            self._ordinal += 1
            return fault, self._faults.delay_s

    def count(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def handle_error(self, *_: object) -> None:
        """Clients hang up as soon as they have enough, and so does the proxy: no error."""


class _HungUp(Exception):
    """This connection is to end without another byte."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        if urlsplit(self.path).path.startswith("/-/"):
            self._control()
        else:
            self._forward()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

    def _forward(self) -> None:
        path = unquote(urlsplit(self.path).path)
        fault, delay_s = self.server.draw(self.command, path)
        self._status = self._in = self._out = 0
        self._upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)  # one each: none can be stale
        try:
            if fault is Fault.DELAY:
                time.sleep(delay_s)
            body = self._request_body(half=fault is Fault.CUT_UPLOAD)
            if fault is Fault.BUSY:
                for _ in body:
                    pass
                self._answer_busy()
            else:
                self._answer(self._ask(body), fault)
        except (_HungUp, OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            self._upstream.close()
            wanted = self.headers.get("Range")
            self.server.count(Request(self.command, path, wanted, self._status, self._in, self._out, fault))

    def _request_body(self, *, half: bool) -> Iterator[bytes]:
        """The pieces of the request's body; the first half of them when the connection is to end there."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces = self._chunked()
        else:
            length = int(self.headers.get("Content-Length") or 0)
            pieces = _pieces(self.rfile, length // 2 if half else length)
        for piece in pieces:
            self._in += len(piece)
            if not half:
                yield piece
        if half:
            raise _HungUp

    def _chunked(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _ask(self, body: Iterator[bytes]) -> http.client.HTTPResponse:
        """The same request of the server behind."""
        first = next(body, b"")  # an upload that is cut is cut before the server hears of it
        chunked = "Content-Length" not in self.headers and bool(first)
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self._upstream.putheader(name, value)
        if chunked:
            self._upstream.putheader("Transfer-Encoding", "chunked")
        self._upstream.endheaders()
        for piece in (first, *body) if first else ():
            self._upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self._upstream.send(b"0\r\n\r\n")
        return self._upstream.getresponse()

    def _answer(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        """Hand the server's answer on, or as much of it as the fault leaves."""
        length = answer.getheader("Content-Length")
        bodyless = self.command == "HEAD" or answer.status in (204, 304) or length == "0"
        if fault is Fault.LOST_ANSWER or (fault is Fault.CUT_ANSWER and bodyless):
            answer.read()
            raise _HungUp
        whole = answer.read() if length is None and not bodyless else None
        size = len(whole) if whole is not None else int(length or 0)
        self._status = answer.status
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if length is None and not bodyless:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if not bodyless:
            self._send(
                [whole] if whole is not None else _pieces(answer, size),
                size // 2 if fault is Fault.CUT_ANSWER else size,
            )
        if fault is Fault.CUT_ANSWER:
            raise _HungUp

    def _send(self, pieces: Iterable[bytes], most: int) -> None:
        for piece in pieces:
            part = piece[: most - self._out]
            self.wfile.write(part)
            self._out += len(part)
            if self._out >= most:
                break

    def _answer_busy(self) -> None:
        self._status = 503
        self.send_response_only(503, "Slow Down")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(SLOW_DOWN)))
        self.end_headers()
        if self.command != "HEAD":
            self._send([SLOW_DOWN], len(SLOW_DOWN))

    def _control(self) -> None:
        """``PUT /-/faults``, ``GET /-/traffic``, ``DELETE /-/traffic``."""
        answer = b""
        if self.command == "PUT":
            self.server.set_faults(Faults.from_json(self.rfile.read(int(self.headers["Content-Length"]))))
        elif self.command == "DELETE":
            self.server.requests.clear()
        else:
            answer = json.dumps([asdict(one) for one in list(self.server.requests)]).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Tests read the traffic, not a log."""


def _pieces(source: Any, length: int) -> Iterator[bytes]:
    """``length`` bytes of a stream; HTTPException when it ends before."""
    while length > 0:
        piece = source.read(min(CHUNK, length))
        if not piece:
            raise http.client.IncompleteRead(b"", length)
        length -= len(piece)
        yield piece


class FaultProxy:
    """A proxy that runs as a process of its own, as its users see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._faults = Faults()

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on; setting it begins its ordinals at 0."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._call("PUT", "faults", faults.to_json().encode())
        self._faults = faults

    @property
    def traffic(self) -> Traffic:
        """What crossed it until now."""
        said = json.loads(self._call("GET", "traffic"))
        return Traffic(tuple(Request(**one | {"fault": one["fault"] and Fault(one["fault"])}) for one in said))

    def forget_traffic(self) -> None:
        """Begin to count anew."""
        self._call("DELETE", "traffic")

    def _call(self, method: str, name: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/-/{name}", body, method=method)) as answer:
            said: bytes = answer.read()
        return said


@contextlib.contextmanager
def fault_proxy(upstream: str, faults: Faults | None = None, port: int = 0) -> Iterator[FaultProxy]:
    """A proxy before ``upstream``: a process, because GDAL waits for answers without letting other threads work."""
    command = [sys.executable, "-m", "tests.support.fault_proxy", upstream, str(port)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            proxy = FaultProxy(process.stdout.readline().strip())
            if faults is not None:
                proxy.faults = faults
            yield proxy
        finally:
            process.terminate()


if __name__ == "__main__":
    server = _Server(sys.argv[1], port=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
