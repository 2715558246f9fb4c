"""Weights and side files come to a local copy, from the local disk and from fsspec's in-memory store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline.errors import ConfigError, ModelError, StorageError
from pipeline.storage import fetching
from pipeline.storage.fetching import exists, fetch_folder, fetch_weights, fetched_file, read_text
from tests.support.folders import names
from tests.support.patience import QUICK
from tests.support.servers import http_server


def test_weights_are_fetched_once_and_again_when_they_change(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KESTREL_CACHE", str(tmp_path))
    memory.pipe({"/w/model.safetensors": b"one", "/w/config.json": b"{}", "/w/model.pkl": b"evil"})
    memory.pipe("/w/README.md", b"---\nlicense: mit\n---\n")
    first = fetch_folder("memory://w")
    assert names(first) == ["README.md", "config.json", "model.safetensors"], "a pickle is never copied"
    gets: list[str] = []
    monkeypatch.setattr(type(memory), "get_file", lambda *a, **_: gets.append(a[1]))
    assert fetch_folder("memory://w") == first
    assert gets == []
    monkeypatch.undo()
    monkeypatch.setenv("KESTREL_CACHE", str(tmp_path))
    memory.pipe("/w/model.safetensors", b"three")
    assert (fetch_folder("memory://w") / "model.safetensors").read_bytes() == b"three"


def test_a_local_folder_of_weights_is_used_in_place(tmp_path: Path) -> None:
    assert fetch_folder(str(tmp_path)) == tmp_path
    with pytest.raises(ModelError, match="no folder of weights"):
        fetch_folder(str(tmp_path / "missing"))


def test_a_remote_folder_without_safetensors_is_refused(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/w/model.bin", b"")
    with pytest.raises(ModelError, match="safetensors"):
        fetch_folder("memory://w")


def test_a_remote_onnx_file_is_fetched_with_its_cards_and_nothing_else(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, or as ``model.onnx`` of a folder; a changed card is fetched anew."""
    monkeypatch.setenv("KESTREL_CACHE", str(tmp_path))
    memory.pipe(
        {"/w/best.onnx": b"one", "/w/best.card.json": b"{}", "/w/other.card.json": b"{}", "/w/best.pt": b"evil"}
    )
    first = fetch_weights("memory://w/best.onnx")
    assert first.read_bytes() == b"one"
    assert names(first.parent) == ["best.card.json", "best.onnx"]
    assert fetch_weights("memory://w/best.onnx") == first
    memory.pipe("/w/best.card.json", b'{"gsd_m": 1}')
    assert (fetch_weights("memory://w/best.onnx").parent / "best.card.json").read_bytes() == b'{"gsd_m": 1}'
    memory.pipe("/w/model.onnx", b"two")
    assert names(fetch_weights("memory://w")) == ["best.card.json", "model.onnx", "other.card.json"]
    with pytest.raises(ModelError, match=r"there is no file at memory://w/none\.onnx"):
        fetch_weights("memory://w/none.onnx")


def test_a_card_that_cannot_be_asked_for_is_not_passed_over(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that breaks off for a moment is asked again; one that stays away is no store without a card."""
    monkeypatch.setenv("KESTREL_CACHE", str(tmp_path))
    memory.pipe({"/w/best.onnx": b"one", "/w/best.card.json": b"{}"})
    faults, info = [ConnectionError("reset")], type(memory).info

    def breaking(store: Any, path: str, **options: Any) -> Any:
        if faults and path.endswith(".card.json"):
            raise faults.pop()
        return info(store, path, **options)

    monkeypatch.setattr(type(memory), "info", breaking)
    assert names(fetch_weights("memory://w/best.onnx", QUICK).parent) == ["best.card.json", "best.onnx"]
    faults.extend(ConnectionError("reset") for _ in range(9))
    with pytest.raises(StorageError, match=r"cannot read memory://w/best\.onnx, after 4 attempts"):
        fetch_weights("memory://w/best.onnx", QUICK)


def test_what_lies_beside_a_web_address_with_a_query_is_asked_for_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KESTREL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "best.onnx").write_bytes(b"one")
    (tmp_path / "best.card.json").write_bytes(b"{}")
    statuses = {"/none": 404}
    with http_server(tmp_path, statuses=statuses) as server:
        address = f"{server.url}/best.onnx?download=true"
        assert names(fetch_weights(address, QUICK).parent) == ["best.card.json", "best.onnx"]
        statuses["/best.card.json"] = 503
        with pytest.raises(StorageError, match=r"cannot read .*/best\.onnx.*, after 4 attempts"):
            fetch_weights(address, QUICK)
        statuses["/best.card.json"] = 403
        assert names(fetch_weights(address, QUICK).parent) == ["best.onnx"]


def test_a_file_of_the_same_size_is_fetched_anew_when_its_server_says_it_changed(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Last-Modified alone, as plain web servers do: a network that was trained on has the size that it had."""
    monkeypatch.setenv("KESTREL_CACHE", str(tmp_path))
    info, times = type(memory).info, ["Sat, 28 Nov 2026 05:00:00 GMT"]
    monkeypatch.setattr(
        type(memory), "info", lambda *a, **named: {**info(*a, **named), "Last-Modified": times[-1]}
    )  # fmt: skip
    memory.pipe("/w/best.onnx", b"one")
    assert fetch_weights("memory://w/best.onnx").read_bytes() == b"one"
    memory.pipe("/w/best.onnx", b"two")
    times.append("Sat, 28 Nov 2026 06:00:00 GMT")
    assert fetch_weights("memory://w/best.onnx").read_bytes() == b"two"


def test_an_onnx_file_too_large_is_not_fetched(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/w/best.onnx", b"three")
    monkeypatch.setattr(fetching, "MOST_ONNX_BYTES", 4)
    with pytest.raises(ModelError, match="is larger than 4 bytes"):
        fetch_weights("memory://w/best.onnx")


def test_a_remote_file_comes_with_its_siblings(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe({"/a/area.shp": b"1", "/a/area.dbf": b"2", "/a/other.shp": b"3"})
    with fetched_file("memory://a/area.shp") as path:
        assert path.read_bytes() == b"1"
        assert names(path.parent) == ["area.dbf", "area.shp"]
    assert not path.exists()
    with pytest.raises(ConfigError, match="there is no file"), fetched_file("memory://a/none.shp"):
        pass


def test_exists_and_read_text(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ü", encoding="utf-8")
    memory.pipe("/a.txt", "ü".encode())
    for root in (str(tmp_path), "memory:/"):
        assert read_text(f"{root}/a.txt") == "ü"
        assert (exists(f"{root}/a.txt"), exists(f"{root}/b.txt")) == (True, False)
        with pytest.raises(StorageError, match="cannot read"):
            read_text(f"{root}/b.txt")
