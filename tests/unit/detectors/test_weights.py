"""What ``--weights`` may say: an embedded detector, a folder, an address, a name of the hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

from pipeline.detectors.card import CARD
from pipeline.detectors.checkpoint import WEIGHTS
from pipeline.detectors.loading import read_model_card
from pipeline.detectors.weights import builtin_folder, builtin_names, hub_folder, load, model_card, resolve_weights
from pipeline.errors import ConfigError, ModelError
from tests.support.onnx_files import write_guest


def test_builtin_names_are_folders_of_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pristine: Path
) -> None:
    monkeypatch.setattr("pipeline.detectors.weights.__file__", str(tmp_path / "weights.py"))
    with pytest.raises(ConfigError, match="no builtin:ships; embedded are: none"):
        builtin_folder("ships")
    shutil.copytree(pristine, tmp_path / "weights" / "boats")
    assert resolve_weights("builtin:boats", no_fetching) == tmp_path / "weights" / "boats"
    for name in ("ships", "../weights/boats", ""):
        with pytest.raises(ConfigError, match=r"embedded are: boats"):
            resolve_weights(f"builtin:{name}", no_fetching)


def no_fetching(uri: str) -> Path:
    raise AssertionError(f"{uri} was fetched")


def test_an_address_is_fetched_and_a_folder_is_not(folder: Path, tmp_path: Path) -> None:
    assert resolve_weights(str(folder), no_fetching) == folder
    asked: list[str] = []

    def fetch(uri: str) -> Path:
        asked.append(uri)
        return tmp_path

    assert resolve_weights("s3://bucket/model", fetch) == tmp_path
    assert asked == ["s3://bucket/model"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        resolve_weights(str(tmp_path / "nothing"), no_fetching)


class _Hub(BaseHTTPRequestHandler):
    """The three requests of the hub's protocol that fetching a model needs, for one model ``owner/boats``."""

    folder: Path
    asked: list[str]
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        path = self.path.split("?")[0]
        if path.startswith(f"/api/models/owner/boats/tree/{self.commit}"):
            content = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "1" * 40}
                for file in self.folder.iterdir()
            ]
            self._send(json.dumps(content).encode(), body=body)
        elif path.startswith("/api/models/owner/boats"):
            siblings = [{"rfilename": file.name, "size": file.stat().st_size} for file in self.folder.iterdir()]
            self._send(json.dumps({"id": "owner/boats", "sha": self.commit, "siblings": siblings}).encode(), body=body)
        elif path.startswith(f"/owner/boats/resolve/{self.commit}/"):
            self._send((self.folder / path.rsplit("/", 1)[1]).read_bytes(), body=body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, content: bytes, *, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{abs(hash(content)):040x}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A small hub on loopback that also holds files nobody should fetch."""
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    (folder / "modeling.py").write_text("raise SystemExit")
    handler = type("Hub", (_Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_model_is_fetched_once_and_then_found_in_the_cache(hub: ThreadingHTTPServer, pristine: Path) -> None:
    """JSON and safetensors only; with the hub gone, the cached copy answers."""
    fetched = resolve_weights("owner/boats", no_fetching)
    assert sorted(file.name for file in fetched.iterdir()) == sorted(file.name for file in pristine.iterdir())
    assert read_model_card(fetched).sha256 == read_model_card(pristine).sha256
    assert not [path for path in hub.RequestHandlerClass.asked if path.endswith((".bin", ".py"))]  # type: ignore[attr-defined]
    hub.shutdown()
    hub.server_close()
    assert hub_folder("owner/boats") == fetched


@pytest.fixture
def onnx_hub(hub: ThreadingHTTPServer) -> ThreadingHTTPServer:
    """The same with an ONNX file, its card, and another one that nobody asks for."""
    folder = hub.RequestHandlerClass.folder  # type: ignore[attr-defined]
    write_guest(folder, "yolo-obb").rename(folder / "model.onnx")
    (folder / "model.card.json").write_text(json.dumps({"gsd_m": 0.3}))
    write_guest(folder, "yolo")
    return hub


def test_an_onnx_file_of_the_hub_is_fetched_with_its_card_and_nothing_else(onnx_hub: ThreadingHTTPServer) -> None:
    """And with the hub gone found in the cache: by the code that loads any other."""
    found = resolve_weights("hub:owner/boats/model.onnx", no_fetching)
    assert sorted(file.name for file in found.parent.iterdir()) == ["model.card.json", "model.onnx"]
    card = model_card("hub:owner/boats/model.onnx")
    assert (card.name, card.gsd_m, card.oriented) == ("boats", 0.3, True)
    onnx_hub.shutdown()
    onnx_hub.server_close()
    assert load("hub:owner/boats/model.onnx", "cpu").card == card
    assert resolve_weights("hub:owner/boats/model.onnx", no_fetching) == found


HUB_REFUSED = {
    "hub:owner/boats/none.onnx": "the hub's model owner/boats has no file none.onnx",
    "hub:owner/boats/best.pt": "names a file, a pickle that could run code",
    "hub:owner/../best.onnx": r"owner/\.\.",
    "hub:owner/boats/../../best.onnx": "give owner/name, or owner/name/best.onnx",
    "hub:boats": "give owner/name, or owner/name/best.onnx",
}


@pytest.mark.parametrize("address", HUB_REFUSED)
def test_what_no_file_of_the_hub_can_be_is_one_sentence(address: str, onnx_hub: ThreadingHTTPServer) -> None:
    with pytest.raises(ModelError, match=HUB_REFUSED[address]) as caught:
        resolve_weights(address, no_fetching)
    assert "\n" not in str(caught.value)


def test_an_onnx_file_too_large_for_one_piece_is_not_fetched(
    onnx_hub: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.detectors.weights.MOST_ONNX_BYTES", 4)
    with pytest.raises(ModelError, match=r"model\.onnx of the hub's model owner/boats is larger than 4 bytes"):
        resolve_weights("hub:owner/boats/model.onnx", no_fetching)


def test_a_misspelt_path_is_asked_of_nobody(onnx_hub: ThreadingHTTPServer) -> None:
    with pytest.raises(ModelError, match=r"there is no file owner/boats/model\.onnx"):
        resolve_weights("owner/boats/model.onnx", no_fetching)
    assert onnx_hub.RequestHandlerClass.asked == []  # type: ignore[attr-defined]


def test_a_model_the_hub_does_not_have_is_said(hub: ThreadingHTTPServer) -> None:
    with pytest.raises(ModelError, match="the hub has no public model owner/ships, and there is no folder"):
        hub_folder("owner/ships")


def test_an_unreachable_hub_is_said_within_seconds(hub: ThreadingHTTPServer) -> None:
    hub.shutdown()
    hub.server_close()
    started = time.monotonic()
    with pytest.raises(
        ModelError, match="owner/boats is neither a local folder nor cached, and the model hub could"
    ) as caught:
        resolve_weights("owner/boats", no_fetching)
    assert time.monotonic() - started < 5
    assert "\n" not in str(caught.value)


def test_offline_means_the_hub_is_not_asked(hub: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nor cached"):
        hub_folder("owner/boats")
    assert hub.RequestHandlerClass.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", builtin_names())
def test_an_embedded_detector_is_what_its_card_and_its_page_say(name: str) -> None:
    """The weights are those that were measured, within the size that a package may have, with a licence and a page."""
    folder = builtin_folder(name)
    card = json.loads((folder / CARD).read_text())
    assert card["name"] == name
    assert card["sha256"] == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert (folder / WEIGHTS).stat().st_size <= 12e6
    assert card["licence"] == "Apache-2.0"
    assert f"{card['metrics']['val']['ap50']:.3f}" in (folder / "README.md").read_text()
