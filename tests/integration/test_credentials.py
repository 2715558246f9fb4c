"""Who may read a scene may ask for its version: GDAL and the other clients show a server the same credentials."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.config import RasterConfig
from pipeline.errors import PipelineError, SceneError
from pipeline.georeference.area_files import read_aoi
from pipeline.raster.scene import open_scene
from pipeline.runs.identity import scene_version
from tests.support.patience import ONCE
from tests.support.scenes import KINDS

AREA = b'{"type":"Polygon","coordinates":[[[9,50],[10,50],[10,51],[9,50]]]}'
BASIC = "Basic bWU6c2VjcmV0"  # me:secret


@dataclass
class Guard:
    """A server of ``/bucket/scene.tif`` and ``/bucket/area.geojson`` for those whom ``admits`` lets in."""

    admits: Callable[[str, str, Message], bool] = field(default=lambda method, path, headers: True)
    port: int = 0
    scene: bytes = b""


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    guard = Guard(scene=KINDS["utm_north_up"](tmp_path).read_bytes())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            known = {"/bucket/scene.tif": guard.scene, "/bucket/area.geojson": AREA}
            data = known.get(self.path.partition("?")[0], b"")
            status = 404 if not data else 200 if guard.admits(self.command, self.path, self.headers) else 401
            span = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range") or "")
            first, last = 0, len(data) - 1
            if span and status == 200:
                first, last, status = int(span[1]), min(int(span[2] or last), last), 206
            part = data[first : last + 1] if status in (200, 206) else b""
            self.send_response(status)
            for name, value in {"Content-Length": len(part), "ETag": '"one"', "Accept-Ranges": "bytes"}.items():
                self.send_header(name, str(value))
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(part)

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """GDAL hangs up as soon as it has enough."""

    server = Server(("127.0.0.1", 0), Handler)
    guard.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield guard
    server.shutdown()
    server.server_close()


def wants(name: str, value: str) -> Callable[[str, str, Message], bool]:
    return lambda method, path, headers: headers.get(name) == value


HTTP: dict[str, tuple[Callable[[str, str, Message], bool], dict[str, str], str, str]] = {
    "a bearer in GDAL_HTTP_HEADERS": (
        wants("Authorization", "Bearer secret"), {"GDAL_HTTP_HEADERS": "Authorization: Bearer secret"}, "", "",
    ),
    "several headers": (
        lambda method, path, headers: (headers["X-Key"], headers["X-Team"]) == ("a,b", "sea"),
        {"GDAL_HTTP_HEADERS": 'X-Key: "a,b",X-Team: sea'}, "", "",
    ),
    "GDAL_HTTP_BEARER": (
        wants("Authorization", "Bearer secret"), {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": "secret"}, "", "",
    ),
    "GDAL_HTTP_USERPWD": (wants("Authorization", BASIC), {"GDAL_HTTP_USERPWD": "me:secret"}, "", ""),
    "GDAL_HTTP_COOKIE": (wants("Cookie", "session=1"), {"GDAL_HTTP_COOKIE": "session=1"}, "", ""),
    "GDAL_HTTP_HEADER_FILE": (wants("X-Key", "secret"), {"GDAL_HTTP_HEADER_FILE": "{folder}/headers"}, "", ""),
    "a user in the address": (wants("Authorization", BASIC), {}, "me:secret@", ""),
    "a token in the query": (lambda method, path, headers: path.endswith("?token=secret"), {}, "", "?token=secret"),
    "a signature for GET alone": (
        lambda method, path, headers: method == "GET" and "X-Amz-Signature=1" in path, {}, "", "?X-Amz-Signature=1",
    ),
    ".netrc": (wants("Authorization", BASIC), {"HOME": "{folder}", "NETRC": "{folder}/.netrc"}, "", ""),
}  # fmt: skip


@pytest.mark.parametrize("way", HTTP)
def test_who_may_read_over_http_may_ask_for_the_version(
    way: str, guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admits, environment, user, query = HTTP[way]
    (tmp_path / "headers").write_text("X-Key: secret\n")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    address = f"http://{user}127.0.0.1:{guard.port}/bucket"
    guard.admits = admits
    if not user and not query:
        with pytest.raises(SceneError):
            open_scene(f"{address}/scene.tif", RasterConfig())
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    scene = open_scene(f"{address}/scene.tif{query}", RasterConfig())
    assert scene_version(scene) == f'{len(guard.scene)} "one"'
    assert read_aoi(f"{address}/area.geojson{query}")[0].area == pytest.approx(0.5)


S3: dict[str, tuple[Callable[[str, str, Message], bool], dict[str, str]]] = {
    "AWS_NO_SIGN_REQUEST": (
        lambda method, path, headers: headers.get("Authorization") is None, {"AWS_NO_SIGN_REQUEST": "YES"},
    ),
    "AWS_REQUEST_PAYER": (wants("x-amz-request-payer", "requester"), {"AWS_REQUEST_PAYER": "requester"}),
    "keys": (lambda method, path, headers: "AKIDEXAMPLE" in str(headers.get("Authorization")), {}),
}  # fmt: skip


@pytest.mark.parametrize("endpoint", ["AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("way", S3)
def test_who_may_read_from_s3_may_ask_for_the_version(
    way: str, endpoint: str, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="s3fs is not installed: no client for S3 here")
    guard.admits, environment = S3[way]
    place = f"127.0.0.1:{guard.port}"
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    settings = {
        "AWS_S3_ENDPOINT": {"AWS_S3_ENDPOINT": place, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"},
        "AWS_ENDPOINT_URL": {"AWS_ENDPOINT_URL": f"http://{place}"},
    }[endpoint]
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
    for name, value in {**settings, **keys, **environment}.items():
        monkeypatch.setenv(name, value)
    scene = open_scene("s3://bucket/scene.tif", RasterConfig())
    assert scene_version(scene) == f'{len(guard.scene)} "one"'


def test_a_scene_alone_may_be_read_at_the_requesters_cost(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """By GDAL and by who asks for its version, with nothing in the environment; the next scene is read as ever."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: no client for S3 here")
    guard.admits = wants("x-amz-request-payer", "requester")
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{guard.port}", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    scene = open_scene("s3://bucket/scene.tif", RasterConfig(requester_pays=True))
    assert scene_version(scene, RasterConfig(requester_pays=True)) == f'{len(guard.scene)} "one"'
    with pytest.raises(PipelineError):
        open_scene("s3://bucket/scene.tif", RasterConfig(), ONCE)
    assert scene_version(scene) is None
