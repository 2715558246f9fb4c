"""Files of weights that are no folder: each has its own sentence, and none goes to the model hub."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.detectors import load_detector, resolve_weights
from pipeline.detectors.foreign_files import onnx_file
from pipeline.errors import ModelError


def no_fetching(uri: str) -> Path:
    raise AssertionError(f"{uri} was fetched")


def write(path: Path, kind: str) -> Path:
    """A file as its own library writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "safetensors":
        save_file({"a": torch.zeros(2)}, path)
    elif kind == "pickle":
        torch.save({"a": torch.zeros(2)}, path)
    elif kind == "old pickle":
        torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    elif kind == "archive":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("ships/config.json", "{}")
        path.write_bytes(buffer.getvalue())
    elif kind == "TorchScript":
        # The layout of torch.jit.save, by hand: torch.jit is deprecated, and a warning is an error here.
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
                archive.writestr(f"{path.stem}/{name}", b"\x80\x02}.")
    else:
        path.write_bytes({"ONNX": b"\x08\x08\x12\x07pytorch", "HDF5": b"\x89HDF\r\n\x1a\n", "text": b"hello"}[kind])
    return path


FILES = [
    ("best.pt", "pickle", "a pickle that could run code"),
    ("old.pth", "old pickle", "a pickle that could run code"),
    ("weights.dat", "pickle", "a pickle that could run code"),
    ("best.pt", "TorchScript", "a TorchScript program"),
    ("ships.torchscript", "TorchScript", "a TorchScript program"),
    ("best.onnx", "pickle", "a pickle that could run code"),
    ("ships.ort", "text", "an ONNX file converted for one machine"),
    ("ships.safetensors", "safetensors", "weights alone"),
    ("model.safetensors", "safetensors", "weights alone"),
    ("ships.h5", "HDF5", "made for another runtime"),
    ("ships.engine", "text", "made for another runtime"),
    ("ships.zip", "archive", "an archive: unpack it"),
    ("config.json", "text", "only settings"),
    ("notes", "text", "a file: give the folder"),
]


@pytest.mark.parametrize(("name", "kind", "said"), FILES)
def test_a_file_is_said_to_be_what_it_is(
    name: str, kind: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its path, by ``owner/name`` as the hub has names, by a file address, and handed to the loader itself."""
    path = write(tmp_path / "models" / name, kind)
    monkeypatch.chdir(tmp_path)
    for uri in (str(path), f"models/{name}", path.as_uri()):
        with pytest.raises(ModelError, match=said) as caught:
            resolve_weights(uri, no_fetching)
        assert "\n" not in str(caught.value)
        assert "give th" in str(caught.value)
    with pytest.raises(ModelError, match=said):
        load_detector(path)


def test_a_pickle_of_a_yolo_is_told_how_it_is_exported(tmp_path: Path) -> None:
    """The command in words: format onnx, no NMS inside."""
    with pytest.raises(ModelError, match=r"yolo export model=best\.pt format=onnx nms=False"):
        resolve_weights(str(write(tmp_path / "best.pt", "pickle")), no_fetching)


def test_an_onnx_file_is_taken_by_its_name_its_address_and_as_model_onnx_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint in the same folder is what the folder means; remote files are fetched."""
    path = write(tmp_path / "models" / "model.onnx", "ONNX")
    monkeypatch.chdir(tmp_path)
    assert resolve_weights("models/model.onnx", no_fetching) == Path("models/model.onnx")
    assert resolve_weights(path.as_uri(), no_fetching) == path
    assert onnx_file(resolve_weights("models", no_fetching)) == Path("models/model.onnx")
    assert resolve_weights("s3://bucket/ships.onnx", lambda uri: path) == path
    (tmp_path / "models" / "config.json").write_text("{}")
    assert onnx_file(path.parent) is None
    with pytest.raises(ModelError, match="has no model_type"):
        load_detector(path.parent)


@pytest.mark.parametrize("uri", ["s3://bucket/best.pt", "https://host/a/ships.pt?token=x", "file:///nowhere/a.pt"])
def test_an_address_of_a_file_is_refused_before_anything_is_fetched(uri: str) -> None:
    with pytest.raises(ModelError, match="names a file, ") as caught:
        resolve_weights(uri, no_fetching)
    assert "token" not in str(caught.value)


@pytest.mark.parametrize("name", ["owner/ships.onnx", "owner/best.pt"])
def test_the_name_of_a_file_that_is_not_there_is_no_name_of_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match=f"there is no file {name}"):
        resolve_weights(name, no_fetching)


def test_what_is_there_but_neither_file_nor_folder_is_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "broken").symlink_to(tmp_path / "nothing")
    monkeypatch.chdir(tmp_path)
    for name in ("a/pipe", "a/broken"):
        with pytest.raises(ModelError, match="no folder: give the folder"):
            resolve_weights(name, no_fetching)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [FILES[0], FILES[3], ("ships.onnx", "ONNX", "an ONNX file"), FILES[7], FILES[9]],
)
@pytest.mark.parametrize("configured", [False, True])
def test_a_folder_that_holds_another_kind_of_weights_says_which(
    name: str, kind: str, said: str, configured: bool, tmp_path: Path
) -> None:
    write(tmp_path / name, kind)
    if configured:
        (tmp_path / "config.json").write_text('{"model_type": "detr"}')
        (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ModelError, match=f"holds .*{name}, {said}"):
        load_detector(tmp_path)


def test_a_reason_of_several_lines_stays_one_sentence(tmp_path: Path) -> None:
    """What a library says of a damaged file is taken over on one line."""
    (tmp_path / "config.json").write_text('{"model_type": "detr"}')
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(
        (40).to_bytes(8, "little") + b'{"a": {"dtype": "F\n32"\n, "shape": [}}   '
    )
    with pytest.raises(ModelError, match="no readable safetensors file") as caught:
        load_detector(tmp_path)
    assert "\n" not in str(caught.value)
