"""ONNX Runtime in torch's place: the same detections, attention and difference maps, and when it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.detectors import runtime
from pipeline.detectors.loading import load_detector, runtime_of
from pipeline.detectors.onnx_graphs import TracedPass
from pipeline.detectors.onnx_pass import session
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.protocol import Detector
from pipeline.detectors.runtime import settled
from pipeline.detectors.weights import builtin_folder, load_as_planned, model_card
from pipeline.errors import ConfigError, ModelError
from pipeline.geometry.obb import obb_to_corners
from pipeline.types import Look
from tests.contracts.detector import DetectorContract, make_chip
from tests.support.checkpoints import save_checkpoint
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.oriented import CARD, small_network

MODULES = {"context": True, "foreground": True, "reconstruction": "learnable"}
FCOS = replace(SMALL_FCOS, receptive_field="first", **MODULES)
MADE: dict[str, Callable[[], Any]] = {
    "rtdetr": lambda: OrientedDetector(small_network(**MODULES), CARD),
    "fcos": lambda: OrientedFCOSDetector(small_fcos(FCOS), CARD),
}

LOWEST = {"rtdetr": 0.0, "fcos": 0.02}
"""A dense network says something of every point: of the worst, which of two stays is a matter of rounding."""


@cache
def by_onnxruntime(name: str) -> Detector:
    """Traced once: nothing that these tests do changes it."""
    detector = MADE[name]()
    detector.by_onnxruntime(1)
    return detector


class TestContract(DetectorContract):
    @pytest.fixture(scope="class", params=MADE)
    @classmethod
    def loader(cls, request: pytest.FixtureRequest) -> Callable[[], Detector]:
        return partial(by_onnxruntime, request.param)


@pytest.mark.parametrize("name", MADE)
def test_every_part_of_a_look_is_what_torch_answers(name: str) -> None:
    """Chips of unlike sizes padded into one batch, whole looks and a crop with its share of the queries."""
    chips = [make_chip((50, 71)), make_chip((64, 40), seed=1), replace(make_chip((33, 20)), share=0.3)]
    by_torch, traced = MADE[name](), by_onnxruntime(name)
    for shown in (chips[:2], chips[2:]):
        expected = by_torch.detect(shown, score_threshold=LOWEST[name], attention=True)
        found = traced.detect(shown, score_threshold=LOWEST[name], attention=True)
        for ours, theirs in zip(found, expected, strict=True):
            assert_alike(ours, theirs)
            assert (ours.attention is not None) == (name == "rtdetr")


def assert_alike(look: Look, other: Look) -> None:
    """Equal up to what sums in another order differ by: 1e-4, of boxes a hundredth of a pixel."""
    assert len(look.detections) == len(other.detections) > 0
    np.testing.assert_allclose(look.detections.scores, other.detections.scores, rtol=0, atol=1e-4)
    apart = obb_to_corners(look.detections.boxes)[:, :, None] - obb_to_corners(other.detections.boxes)[:, None]
    assert np.linalg.norm(apart, axis=-1).min(-1).max() < 0.01
    assert look.difference is not None
    assert other.difference is not None
    np.testing.assert_allclose(look.difference.values, other.difference.values, rtol=0, atol=1e-5)
    if look.attention is not None and other.attention is not None:
        np.testing.assert_allclose(look.attention.mass, other.attention.mass, rtol=0, atol=1e-5)


def test_numbers_that_are_none_are_refused() -> None:
    network = small_network()
    network.score_heads[0].weight.data[0, 0] = np.nan
    detector = OrientedDetector(network, CARD)
    detector.by_onnxruntime(1)
    with pytest.raises(ModelError, match="NaN or infinity"):
        detector.detect([make_chip((64, 64))], score_threshold=0.5)


def test_on_a_cpu_the_faster_one_is_taken_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: dict[str, Any] = {"traceable": True, "device": "cpu", "precision": "float32"}
    assert settled("auto", **plain) == settled("onnx", **plain) == "onnx"
    assert settled("torch", **plain) == "torch"
    for other in ({"traceable": False}, {"device": "cuda"}, {"precision": "bfloat16"}):
        assert settled("auto", **plain | other) == "torch"
        with pytest.raises(ConfigError, match=r"detector\.runtime=onnx"):
            settled("onnx", **plain | other)
    monkeypatch.setattr(runtime, "find_spec", lambda name: None if name == "onnxruntime" else object())
    assert settled("auto", **plain) == "torch"
    with pytest.raises(ModelError, match=r"needs onnxruntime: pip install 'kestrel-aerial\[onnx\]'"):
        settled("onnx", **plain)


def test_the_card_of_a_run_names_what_runs_it_and_no_file_does(tmp_path: Path) -> None:
    import onnxruntime

    named = f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"
    assert model_card("builtin:ships-s2", "cpu").runtime == named
    assert model_card("builtin:ships-s2").runtime == f"{named}, torch on a GPU"
    assert model_card("builtin:ships-s2", "cpu", runtime="torch").runtime is None
    assert runtime_of(save_checkpoint("rt_detr", tmp_path), device="cpu", precision="float32", runtime="auto") is None
    assert "runtime" not in (builtin_folder("ships-s2") / "card.json").read_text()


def test_the_runtime_has_its_version_where_another_distribution_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime-gpu does."""
    import onnxruntime

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(runtime, "version", missing)
    assert runtime.runtime_name("cpu") == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"


def test_a_worker_that_would_run_the_network_by_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a node where the packages are missing, or are others: its numbers would go by the name of the planned ones."""
    how = {"device": "cpu", "precision": "float32", "runtime": "auto"}
    planned = model_card("builtin:ships-s2", **how).runtime
    assert load_as_planned(planned, "builtin:ships-s2", how).card.name == "ships-s2"
    with pytest.raises(ModelError, match=r"a worker runs the model by onnxruntime .*planned for torch"):
        load_as_planned(None, "builtin:ships-s2", how)
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"runs the model by torch, .*planned for onnxruntime .*same packages"):
        load_as_planned(planned, "builtin:ships-s2", how)


def test_a_graph_that_the_runtime_refuses_is_one_sentence() -> None:
    traced = TracedPass(graph=b"none", layers=0, levels=torch.zeros(0, dtype=torch.long), nearest=False)
    with pytest.raises(ModelError, match=r"cannot run the network .*detector\.runtime=torch"):
        session(traced, 1)


def test_a_loaded_detector_answers_by_what_was_asked_for() -> None:
    """Both answer alike; bit for bit they do not, so what was asked for was done."""
    chips = [make_chip((64, 64))]
    scores = []
    for wanted in ("torch", "onnx"):
        detector = load_detector(builtin_folder("ships-s2"), threads=1, runtime=wanted)
        scores.append(detector.detect(chips, score_threshold=0.0)[0].detections.scores)
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-4)
    assert not np.array_equal(*scores)
