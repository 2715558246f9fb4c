"""Folders on object stores: a real S3 server, and one that keeps the rules of buckets whose readers pay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.ingest.feed_file import FeedConfig, Source
from pipeline.ingest.feeds import scenes
from pipeline.ingest.scene_config import scene_config
from pipeline.ingest.scene_to_do import SceneToDo
from pipeline.raster import open_scene
from tests.support import layouts
from tests.support.servers import BUCKET, s3_server


def feed(address: str, layout: str = "auto") -> FeedConfig:
    return FeedConfig(name="f", source=Source(kind="folder", address=address, layout=layout))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    layouts.write_tree(root)
    return root


@pytest.fixture(scope="module")
def store(tree: Path) -> Iterator[str]:
    with s3_server(tree) as address:
        yield address


def test_a_bucket_gives_what_the_same_folder_gives(tree: Path, store: str, keys: pytest.MonkeyPatch) -> None:
    """Every layout, from the bucket itself and from a prefix; and its scenes open, with their settings."""
    local = {one.key: one for one in scenes(feed(str(tree))) if isinstance(one, SceneToDo)}
    keys.setenv("AWS_ENDPOINT_URL", store)
    found = {one.key: one for one in scenes(feed(f"s3://{BUCKET}")) if isinstance(one, SceneToDo)}
    assert found.keys() == local.keys()
    assert all(one.scene_id == local[key].scene_id and one.updated is not None for key, one in found.items())
    (product, _) = sorted(scenes(feed(f"s3://{BUCKET}/sentinel/")), key=lambda one: one.key)
    assert isinstance(product, SceneToDo)
    assert product.uri == found[product.key].uri
    for one in (product, found[f"f/files/{layouts.NAIP}"]):
        config = scene_config(feed("s3://x"), RunConfig(out="out"), one)
        assert open_scene(config.scene[0], config.raster).width == layouts.PX


LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>naip-analytic</Name><Prefix></Prefix>
<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents>
<Key>ct/2021/60cm/rgbir_cog/41075/m_4107501_ne_18_060_20210828.tif</Key><Size>7</Size><ETag>"one"</ETag>
<LastModified>2023-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"""
DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@contextmanager
def paid_bucket() -> Iterator[tuple[str, list[Message]]]:
    """A bucket that is listed for those alone who say that they pay: its address, and the headers it saw."""
    seen: list[Message] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(self.headers)
            pays = self.headers.get("x-amz-request-payer") == "requester"
            body = (LISTING if pays else DENIED).encode()
            self.send_response(200 if pays else 403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_who_lists_a_bucket_of_naip_says_that_it_pays_and_another_is_denied(keys: pytest.MonkeyPatch) -> None:
    with paid_bucket() as (address, seen):
        keys.setenv("AWS_ENDPOINT_URL", address)
        (quad,) = scenes(feed("s3://naip-analytic", "naip"))
        assert isinstance(quad, SceneToDo)
        assert quad.settings["raster.requester_pays"] is True
        with pytest.raises(StorageError, match="access is denied"):
            list(scenes(feed("s3://naip-analytic", "maxar")))
        assert all(headers["Authorization"] for headers in seen)
        keys.setenv("AWS_NO_SIGN_REQUEST", "YES")
        with pytest.raises(StorageError, match="access is denied"):
            list(scenes(feed("s3://naip-analytic")))
        assert seen[-1]["Authorization"] is None
        keys.delenv("AWS_NO_SIGN_REQUEST")
        keys.setenv("AWS_REQUEST_PAYER", "requester")
        assert len(list(scenes(feed("s3://naip-analytic")))) == 1


def test_what_cannot_be_listed_is_one_sentence(store: str, keys: pytest.MonkeyPatch) -> None:
    keys.setenv("AWS_ENDPOINT_URL", store)
    with pytest.raises(StorageError, match="no such bucket"):
        list(scenes(feed("s3://none/at/all")))
    assert list(scenes(feed(f"s3://{BUCKET}/nothing/yet"))) == []
    for uri in ("https://host/folder", "gs://bucket/folder"):
        with pytest.raises(ConfigError, match="cannot be listed for scenes"):
            list(scenes(feed(uri)))
