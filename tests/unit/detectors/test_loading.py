"""From a folder to a detector: what loads, what is refused, and that every refusal is one ModelError sentence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.detectors import transformers_detr
from pipeline.detectors.loading import FAMILIES as KNOWN
from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.detectors.protocol import Detector
from pipeline.detectors.torch_process import best_device
from pipeline.errors import ConfigError, ModelError
from pipeline.types import Chip, Window
from tests.conftest import ROOT
from tests.support.checkpoints import CLASSES, FAMILIES, save_checkpoint


def chip(side: int = 64) -> Chip:
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Chip(pixels=pixels, window=Window(x=0, y=0, width=side, height=side))


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def first_bias(weights: dict[str, torch.Tensor]) -> str:
    return next(name for name in sorted(weights) if name.endswith("bias"))


def spoil_with(value: float) -> Callable[[Path], None]:
    return lambda folder: edit_weights(folder, lambda weights: weights[first_bias(weights)].fill_(value))


def another_shape(weights: dict[str, torch.Tensor]) -> None:
    weights[first_bias(weights)] = torch.zeros(3)


def replace_by_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")


def truncate(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "is not a folder"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json does not exist"),
    "config no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read as JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[1]"), "holds a list"),
    "config binary": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
    "config of nothing": (lambda f: (f / "config.json").write_text("{}"), "has no model_type"),
    "a language model": (lambda f: edit_config(f, model_type="bert"), "describes a 'bert'.*use one of rt_detr"),
    "another family": (lambda f: edit_config(f, model_type="rt_detr"), "do not fit|can be built|plain"),
    "ill-typed setting": (lambda f: edit_config(f, d_model="wide"), "describes no detr network that can be built"),
    "impossible setting": (lambda f: edit_config(f, activation_function="sharp"), "do not fit|can be built"),
    "unknown backbone": (lambda f: edit_config(f, backbone_config={"model_type": "none"}), "can be built"),
    "wider than its weights": (lambda f: edit_config(f, decoder_ffn_dim=52), "have another shape, e.g. "),
    "deeper than its weights": (lambda f: edit_config(f, decoder_layers=3), "are missing, e.g. "),
    "shallower than its weights": (lambda f: edit_config(f, decoder_layers=1), "have no place in it, e.g. "),
    "more classes": (
        lambda f: edit_config(f, id2label={str(n): str(n) for n in range(9)}, label2id={str(n): n for n in range(9)}),
        "have another shape",
    ),
    "a weight missing": (lambda f: edit_weights(f, lambda w: w.pop(first_bias(w))), "1 are missing"),
    "a weight too many": (
        lambda f: edit_weights(f, lambda w: w.update(extra=torch.zeros(1))),
        "1 have no place in it, e.g. extra",
    ),
    "a weight of another shape": (lambda f: edit_weights(f, another_shape), "1 have another shape"),
    "NaN": (spoil_with(float("nan")), "1 of [0-9]+ weights hold NaN or infinity"),
    "infinity": (spoil_with(float("inf")), "1 of [0-9]+ weights hold NaN or infinity"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "truncated weights": (truncate, "no readable safetensors file"),
    "weights are text": (lambda f: (f / "model.safetensors").write_text("weights"), "no readable safetensors file"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "no readable safetensors file"),
    "a pickle": (replace_by_pickle, r"pytorch_model\.bin, a pickle.*save_pretrained"),
    "no preprocessor": (
        lambda f: (f / "preprocessor_config.json").unlink(),
        r"preprocessor_config\.json does not exist",
    ),
    "card of other weights": (
        lambda f: (f / "card.json").write_text('{"sha256": "' + "0" * 64 + '"}'),
        "sha256 000000",
    ),
    "card with too few classes": (lambda f: (f / "card.json").write_text('{"classes": ["boat"]}'), "names 1 classes"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_checkpoint_is_one_sentence(case: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A ModelError that says which file and why, on one line, and nothing of the library's own noise."""
    spoil, complaint = SPOILT[case]
    spoil(folder)
    with pytest.raises(ModelError, match=complaint) as caught:
        load_detector(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_network_that_cannot_be_run_is_one_sentence(tmp_path: Path) -> None:
    """More queries than the image has places to start from: such a network can be built, but not asked."""
    detector = load_detector(save_checkpoint("rt_detr", tmp_path, num_queries=5000))
    with pytest.raises(ModelError, match=r"cannot look at 1 chips .* check its config\.json") as caught:
        detector.detect([chip()], score_threshold=0.5)
    assert "\n" not in str(caught.value)


def test_a_good_checkpoint_loads_silently(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    detector = load_detector(folder)
    assert isinstance(detector, Detector)
    assert capfd.readouterr() == ("", "")
    assert not detector.network.training  # type: ignore[attr-defined]


def test_shards_answer_as_one_file(pristine: Path, tmp_path: Path) -> None:
    sharded = save_checkpoint("detr", tmp_path, max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    whole, parts = (
        load_detector(path).detect([chip()], score_threshold=0.0)[0].detections for path in (pristine, sharded)
    )
    np.testing.assert_array_equal(whole.boxes, parts.boxes)


@pytest.mark.parametrize("name", ["../secrets.safetensors", "model-00001-of-00002.safetensors"])
def test_an_index_may_only_name_files_that_are_beside_it(name: str, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "secrets.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match=re.escape(f"names {name}, which is not in the folder")):
        load_detector(folder)


def test_code_in_the_folder_is_never_run(folder: Path) -> None:
    """``auto_map`` asks the library to import modeling code from the folder."""
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Evil: ...\n")
    edit_config(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModelForObjectDetection": "evil.Evil"})
    load_detector(folder)
    assert not (folder / "ran").exists()


def test_step_counters_of_batch_norms_may_be_there_or_not(tmp_path: Path) -> None:
    folder = save_checkpoint("rt_detr", tmp_path)
    edit_weights(folder, lambda w: [w.pop(name) for name in list(w) if name.endswith("num_batches_tracked")])
    load_detector(folder)
    norm = next(name for name in load_file(folder / "model.safetensors") if name.endswith("running_mean"))
    counter = norm.replace("running_mean", "num_batches_tracked")
    edit_weights(folder, lambda w: w.update({counter: torch.tensor(5)}))
    load_detector(folder)


def test_every_model_type_has_one_family_and_none_is_imported_with_torch() -> None:
    """The table holds what the library's checkpoints of ``tests/support`` say they are, and our own."""
    assert sorted(KNOWN) == sorted([*FAMILIES, "kestrel_oriented_rtdetr", "kestrel_oriented_fcos", "onnx"])
    assert {KNOWN[kind] for kind in FAMILIES} == {transformers_detr}
    code = "import sys, pipeline.detectors; print(*{'torch', 'transformers', 'onnx', 'onnxruntime'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "\n"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_card_is_read_without_torch(family: str, tmp_path: Path) -> None:
    """Planning and --dry-run must not pay for torch; the card is the loaded detector's."""
    folder = save_checkpoint(family, tmp_path)
    card = read_model_card(folder)
    assert card == load_detector(folder).card
    assert (card.classes, card.gsd_m, card.oriented) == (CLASSES, None, False)
    if family != "detr":
        return
    code = (
        "import sys; from pathlib import Path; from pipeline.detectors.loading import read_model_card; "
        f"print(read_model_card(Path({str(folder)!r})).name); print(*{{'torch', 'transformers'}} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [card.name, ""]


def test_threads_are_set_for_the_process(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        load_detector(folder, threads=3)
        assert torch.get_num_threads() == 3
        load_detector(folder)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_what_this_machine_cannot_do_is_a_configuration_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        load_detector(folder, precision="float16")
    if best_device() == "cpu":
        with pytest.raises(ConfigError, match="sees no GPU"):
            load_detector(folder, device="cuda")
