"""From a name to a detector: what is found, what is refused, and that every refusal is one ModelError sentence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.detectors import transformers_detr
from pipeline.detectors.loading import FAMILIES as KNOWN
from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.detectors.protocol import Detector
from pipeline.detectors.torch_process import best_device
from pipeline.detectors.weights import builtin_folder, hub_folder, resolve_weights
from pipeline.errors import ConfigError, ModelError
from pipeline.types import Chip, Window
from tests.conftest import ROOT
from tests.support.checkpoints import CLASSES, FAMILIES, save_checkpoint


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("detr", tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy of a good checkpoint, to be spoilt."""
    return shutil.copytree(pristine, tmp_path / "checkpoint")


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
    assert list(KNOWN) == [*FAMILIES, "kestrel_oriented_rtdetr"]
    assert {KNOWN[kind] for kind in FAMILIES} == {transformers_detr}
    code = "import sys, pipeline.detectors; print(*{'torch', 'transformers'} & set(sys.modules))"
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
            siblings = [{"rfilename": file.name} for file in self.folder.iterdir()]
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
