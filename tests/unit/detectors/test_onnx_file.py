"""Detectors of our own as ONNX files: what another program gets is what torch answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pipeline.detectors.card import card_content, read_card
from pipeline.detectors.loading import load_detector
from pipeline.detectors.onnx_file import onnx_file, write_onnx
from pipeline.detectors.onnx_graphs import OPSET
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_fcos.running import runnable as runnable_fcos
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector
from pipeline.detectors.oriented_rtdetr.folder import load_network
from pipeline.detectors.oriented_rtdetr.running import runnable as runnable_rtdetr
from pipeline.detectors.passes import Runnable, TorchPass
from pipeline.detectors.torch_boxes import corners
from pipeline.detectors.torch_chips import batch_of, original_of
from pipeline.detectors.weights import builtin_folder
from pipeline.types import Chip, ModelCard, Window
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.oriented import CARD, small_network

MODULES = {"context": True, "foreground": True, "reconstruction": "learnable"}
MADE: dict[str, Callable[[], Runnable]] = {
    "rtdetr": lambda: runnable_rtdetr(small_network()),
    "rtdetr with all modules": lambda: runnable_rtdetr(small_network(**MODULES)),
    "fcos": lambda: runnable_fcos(small_fcos()),
    "fcos with all modules": lambda: runnable_fcos(
        small_fcos(replace(SMALL_FCOS, receptive_field="last", **MODULES | {"reconstruction": "official"}))
    ),
    "builtin:ships-s2": lambda: runnable_rtdetr(load_network(builtin_folder("ships-s2"))),
}
SHAPES = ((1, 64, 64), (3, 50, 100), (2, 96, 32))
"""Batches, rows and columns; 50 and 100 are padded to 64 and 128."""


def chips(count: int, height: int, width: int) -> list[Chip]:
    pixels = np.random.default_rng(height).integers(0, 256, (count, height, width, 3), np.uint8)
    return [Chip(pixels=one, window=Window(x=0, y=0, width=width, height=height)) for one in pixels]


def by_torch(runnable: Runnable, shown: list[Chip], card: ModelCard) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and boxes, as the detector works them out."""
    config = runnable.network.config
    pixels = batch_of(shown, card, config.strides[-1], torch.device("cpu"))
    original = original_of(pixels, shown, card, config)
    queries = getattr(config, "queries", 0)
    with torch.inference_mode():
        answer, _ = TorchPass(runnable, torch.device("cpu"), "float32")(pixels, queries, original, attention=False)
    return answer.scores, answer.boxes


def apart(boxes: torch.Tensor, others: torch.Tensor) -> float:
    """How far any corner is from the nearest one of the other's, pixels: a square may be written in two ways."""
    found, wanted = corners(boxes.double()), corners(others.double())
    return float((found[..., :, None, :] - wanted[..., None, :, :]).norm(dim=-1).amin(-1).max())


@pytest.mark.parametrize("name", MADE)
def test_a_file_answers_what_torch_answers_for_any_batch_and_size(name: str) -> None:
    runnable = MADE[name]()
    card = read_card(builtin_folder("ships-s2")) if name.startswith("builtin") else CARD
    content = onnx_file(runnable, card, "kestrel_any")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count, height, width in SHAPES:
        shown = chips(count, height, width)
        pixels = np.stack([chip.pixels for chip in shown]).transpose(0, 3, 1, 2).astype(np.float32)
        first, boxes = (torch.from_numpy(one) for one in session.run(None, {"pixels": pixels}))
        if runnable.detr:
            scores, sides = first.sigmoid(), torch.tensor([width, height, width, height, 1])
        else:
            scores, sides = first, torch.ones(5)
        wanted, wanted_boxes = by_torch(runnable, shown, card)
        torch.testing.assert_close(scores, wanted, rtol=0, atol=1e-4)
        assert apart(boxes * sides, wanted_boxes) < 1e-4 * max(height, width)
    model = onnx.load_from_string(content)
    assert [one.version for one in model.opset_import] == [OPSET]
    assert [node.op_type for node in model.graph.node if node.op_type == "GridSample"] or not runnable.detr


def test_a_file_tells_what_it_is(tmp_path: Path) -> None:
    card = replace(CARD, licence="CC-BY-4.0", gsd_m=0.3)
    path = write_onnx(tmp_path / "new" / "folder", onnx_file(MADE["fcos"](), card, "kestrel_oriented_fcos"))
    facts = {one.key: one.value for one in onnx.load(path).metadata_props}
    assert json.loads(facts["kestrel"]) == card_content(card)
    assert (facts["model_type"], facts["license"]) == ("kestrel_oriented_fcos", "CC-BY-4.0")
    assert [one.name for one in path.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("name", "kind", "lowest"), [("rtdetr", OrientedDetector, 0.0), ("fcos", OrientedFCOSDetector, 0.02)]
)
def test_the_file_is_a_detector_that_sees_what_its_folder_sees(
    name: str, kind: type, lowest: float, tmp_path: Path
) -> None:
    """As ``--weights model.onnx`` takes it, with nothing beside it."""
    write_onnx(tmp_path, onnx_file(MADE[name](), CARD, "kestrel_any"))
    from_file = load_detector(tmp_path / "model.onnx", threads=1)
    assert replace(from_file.card, sha256=CARD.sha256, runtime=None, described=None) == CARD
    shown = chips(2, 64, 64)
    for ours, theirs in zip(
        from_file.detect(shown, score_threshold=lowest),
        kind(MADE[name]().network, CARD).detect(shown, score_threshold=lowest),
        strict=True,
    ):
        found, wanted = ours.detections, theirs.detections
        assert len(found) == len(wanted) > 0
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=1e-4)
        assert apart(torch.from_numpy(found.boxes)[None], torch.from_numpy(wanted.boxes)[None]) < 0.01
