"""Checkpoints and cards from strangers: nothing is unpickled, nothing is taken at the size it promises."""

from __future__ import annotations

import hashlib
import json
import pickle
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.detectors.card import card_from_mapping, read_card
from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.errors import ModelError
from tests.conftest import ROOT
from tests.fuzz.templates import CARD

BUILTIN = ROOT / "pipeline" / "detectors" / "weights" / "ships-s2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUILTIN, tmp_path / "weights"))


def sign(folder: Path) -> None:
    """Write the hash of the weights into the card, as whoever made both would."""
    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def refused(folder: Path, *words: str) -> None:
    """In one sentence, by planning or at the latest by loading."""

    def plan_and_load() -> None:
        read_model_card(folder)
        load_detector(folder)

    with pytest.raises(ModelError) as caught:
        plan_and_load()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    for word in words:
        assert word in str(caught.value)


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "weights.pth", "last.ckpt", "model.pkl", "model.pickle"]
)
@pytest.mark.parametrize("beside", [True, False])
def test_a_pickle_is_never_opened(name: str, beside: bool, folder: Path, tmp_path: Path) -> None:
    """Alone it is refused by its name; beside safetensors it is ignored. The bomb would leave a mark."""
    mark = tmp_path / "exploded"
    (folder / name).write_bytes(pickle.dumps(_Bomb(mark)))
    if beside:
        load_detector(folder)
    else:
        (folder / "model.safetensors").unlink()
        refused(folder, name, "pickle that could run code")
    assert not mark.exists()


def test_a_pickle_called_safetensors_is_no_safetensors(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Bomb(tmp_path / "exploded")))
    sign(folder)
    refused(folder, "model.safetensors")
    assert not (tmp_path / "exploded").exists()


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HEADERS: dict[str, bytes] = {
    "header of exabytes": struct.pack("<Q", 1 << 60) + b"{}",
    "header of all bits": b"\xff" * 16,
    "terabytes of numbers": json.dumps({"a": tensor([1 << 20, 1 << 20], 0, 1 << 42)}).encode(),
    "shape larger than its bytes": json.dumps({"a": tensor([1 << 31], 0, 4)}).encode(),
    "shape that overflows": json.dumps({"a": tensor([1 << 62, 1 << 62], 0, 4)}).encode(),
    "negative offsets": json.dumps({"a": tensor([1], -4, 0)}).encode(),
    "overlapping tensors": json.dumps({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}).encode(),
    "unknown type": json.dumps({"a": tensor([1], 0, 4, "F9")}).encode(),
    "deep nesting": b'{"a":' * 20_000,
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_safetensors_header_that_promises_too_much_is_refused(kind: str, folder: Path) -> None:
    raw = HEADERS[kind]
    data = raw if kind.startswith("header") else struct.pack("<Q", len(raw)) + raw + bytes(4)
    (folder / "model.safetensors").write_bytes(data)
    sign(folder)
    refused(folder, "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float8_e4m3fn, torch.complex64])
def test_numbers_of_another_kind_do_not_fit_or_are_taken(dtype: torch.dtype, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: torch.ones(tensors[name].shape, dtype=dtype)}, folder / "model.safetensors")
    sign(folder)
    try:
        load_detector(folder)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("key", "value"),
    [("width", 10**9), ("width", 65_536), ("queries", 10**30), ("decoder_layers", 10**9), ("stage_depths", [10**7] * 4),
     ("stage_channels", [90_000] * 4), ("width", -1), ("width", "64"), ("width", None), ("heads", 0),
     ("stage_channels", []), ("classes", 10**12), ("anchor_strides", float("nan")),
     ("queries", 0), ("decoder_layers", 0)],
)  # fmt: skip
def test_a_config_that_promises_a_giant_takes_no_memory(key: str, value: Any, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert key in config
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kB"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


WRONG: list[tuple[str, Any]] = [
    ("gsd_m", float("nan")), ("gsd_m", float("inf")), ("gsd_m", 10**400), ("gsd_m", 1e-300), ("gsd_m", -10),
    ("gsd_m", "10"), ("gsd_m", True), ("input_px", 10**18), ("input_px", 512.0), ("input_px", 0),
    ("classes", [f"class {number}" for number in range(1_000_000)]), ("classes", {"ship": 0}), ("classes", ["a\nb"]),
    ("longest_object_m", 1e300),
    ("classes", ["x" * 10_000]), ("name", "a\x1b[2Jb"), ("name", "x" * 1_000_000), ("bands", [["red"]] * 3),
    ("mean", [float("nan")] * 3), ("mean", [1e308] * 3), ("std", [0, 1, 1]), ("std", [1e-320] * 3),
    ("score_threshold", 2), ("sha256", "../../etc/passwd"), ("metrics", [1]), ("licence", 5),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda value: str(value)[:20])
def test_a_hostile_value_of_a_card_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ModelError, match=f"card: {key} must be") as caught:
        card_from_mapping({**CARD, key: value}, source="card")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "\0", "", "[]", "9" * 5000, "\ud800", '{"name": "\\ud800"}']
)
@pytest.mark.parametrize("file", ["card.json", "config.json"])
def test_hostile_json_is_one_sentence(text: str, file: str, folder: Path) -> None:
    (folder / file).write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(folder, file)


def test_a_deep_card_is_read_or_refused(folder: Path) -> None:
    """Depth that the parser lets through must not overthrow what comes after it."""
    card = json.loads((folder / "card.json").read_text())
    for levels in (10, 300, 900):
        (folder / "card.json").write_text(json.dumps({**card, "metrics": {"a": deep(levels)}}))
        try:
            read_card(folder)
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(("key", "value"), [("num_channels", 10**9), ("num_labels", 10**9), ("num_labels", "many")])
def test_counts_of_a_foreign_config_are_judged_before_lists_are_made(key: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "rt_detr", key: value}))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=key):
        read_model_card(tmp_path)


def test_nothing_in_the_package_can_unpickle_weights() -> None:
    """torch.load, pickle and numpy's allow_pickle stand nowhere between a folder of weights and a detector."""
    sources = [*(ROOT / "pipeline" / "detectors").rglob("*.py")]
    for path in sources:
        text = path.read_text()
        assert not any(word in text for word in ("torch.load", "import pickle", "allow_pickle", "joblib")), path
    code = "import sys; import pipeline.detectors.weights; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
