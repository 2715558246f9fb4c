"""The fault proxy itself: what it forwards is untouched, and each fault is the one that was asked for."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from tests.support.fault_proxy import SLOW_DOWN, FaultProxy, fault_proxy
from tests.support.proxy_faults import Fault, Faults

BODY = bytes(range(256)) * 1000


class Store(BaseHTTPRequestHandler):
    """Keeps what is PUT, tells it on GET, and every header it was sent."""

    protocol_version = "HTTP/1.1"
    kept: ClassVar[dict[str, bytes]] = {}
    seen: ClassVar[list[dict[str, str]]] = []

    def do_PUT(self) -> None:
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._say(200, b"")

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers.items()))
        body = self.kept.get(self.path)
        self._say(404 if body is None else 200, body or b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"tag"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def process(upstream: str) -> Iterator[FaultProxy]:
    with fault_proxy(upstream) as proxy:
        yield proxy


@pytest.fixture
def proxy(process: FaultProxy) -> FaultProxy:
    process.faults = Faults()
    process.forget_traffic()
    Store.kept.clear()
    Store.seen.clear()
    return process


def call(proxy: FaultProxy, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(proxy.url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_what_passes_is_untouched_and_counted(proxy: FaultProxy) -> None:
    assert call(proxy, "PUT", "/b/a%20key?part=1", BODY) == (200, b"")
    said = call(proxy, "GET", "/b/a%20key?part=1", Range="bytes=0-9", Authorization="AWS4 x", Host="store.example")
    assert said == (200, BODY)
    assert call(proxy, "HEAD", "/b/a%20key?part=1") == (200, b"")
    assert call(proxy, "GET", "/none")[0] == 404
    seen = Store.seen[0]
    assert (seen["Host"], seen["Range"], seen["Authorization"]) == ("store.example", "bytes=0-9", "AWS4 x")
    told = [(one.method, one.path, one.range, one.status, one.bytes_in, one.bytes_out, one.fault)
            for one in proxy.traffic.requests]  # fmt: skip
    assert told == [
        ("PUT", "/b/a key", None, 200, len(BODY), 0, None),
        ("GET", "/b/a key", "bytes=0-9", 200, 0, len(BODY), None),
        ("HEAD", "/b/a key", None, 200, 0, 0, None),
        ("GET", "/none", None, 404, 0, 0, None),
    ]
    assert len(proxy.traffic.of("GET", "^/b/")) == 1


def test_a_storm_begins_and_ends(proxy: FaultProxy) -> None:
    call(proxy, "PUT", "/k", BODY)
    proxy.faults = Faults.storm(methods=frozenset({"GET"}))
    assert call(proxy, "GET", "/k") == (503, SLOW_DOWN)
    assert call(proxy, "HEAD", "/k")[0] == 200
    proxy.faults = Faults()
    assert call(proxy, "GET", "/k") == (200, BODY)
    assert proxy.traffic.faults() == {Fault.BUSY: 1}


def test_cut_answers_end_half_way_and_lost_ones_before_they_begin(proxy: FaultProxy) -> None:
    call(proxy, "PUT", "/k", BODY)
    proxy.faults = Faults(script={0: Fault.CUT_ANSWER, 1: Fault.LOST_ANSWER, 2: Fault.DELAY}, delay_s=0.01)
    with pytest.raises(http.client.IncompleteRead) as cut:
        call(proxy, "GET", "/k")
    assert cut.value.partial == BODY[: len(BODY) // 2]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        call(proxy, "PUT", "/other", b"was kept")
    assert Store.kept["/other"] == b"was kept"
    assert call(proxy, "GET", "/k") == (200, BODY)


def test_a_cut_upload_never_reaches_the_store(proxy: FaultProxy) -> None:
    proxy.faults = Faults(script={0: Fault.CUT_UPLOAD})
    with pytest.raises((urllib.error.URLError, http.client.HTTPException, ConnectionError)):
        call(proxy, "PUT", "/k", BODY)
    assert not Store.kept
    assert call(proxy, "PUT", "/k", BODY)[0] == 200


def test_the_same_seed_fails_the_same_requests() -> None:
    faults = Faults(shares={Fault.BUSY: 0.2, Fault.CUT_ANSWER: 0.1}, seed=3, path="^/b/", methods=frozenset({"GET"}))
    fates = [faults.of(ordinal) for ordinal in range(2000)]
    assert fates == [Faults.from_json(faults.to_json()).of(ordinal) for ordinal in range(2000)]
    assert 0.17 < fates.count(Fault.BUSY) / 2000 < 0.23
    assert 0.08 < fates.count(Fault.CUT_ANSWER) / 2000 < 0.12
    assert fates != [Faults(shares=faults.shares, seed=4).of(ordinal) for ordinal in range(2000)]
    assert faults.concern("GET", "/b/k")
    assert not faults.concern("PUT", "/b/k")
    assert not faults.concern("GET", "/c/b/k")
