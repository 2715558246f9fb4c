"""The oriented detector from a folder and back: same answers, and a sentence for everything that does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import CONFIG as CONFIG_FILE
from pipeline.detectors.checkpoint import WEIGHTS as WEIGHTS_FILE
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_rtdetr.detector import OrientedDetector, load
from pipeline.detectors.oriented_rtdetr.folder import load_network, save_network
from pipeline.detectors.oriented_rtdetr.network import LayerOutput
from pipeline.detectors.protocol import FEWEST_QUERIES, Detector
from pipeline.detectors.torch_chips import batch_of
from pipeline.errors import ModelError
from pipeline.types import Chip, Frame, Window
from tests.support.oriented import CARD, small_network


def chip(height: int, width: int, seed: int = 0) -> Chip:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Chip(pixels=pixels, window=Window(x=0, y=0, width=width, height=height))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_network(tmp_path, small_network())
    write_card(tmp_path, replace(CARD, sha256=weights_sha256(tmp_path)))
    return tmp_path


def test_a_saved_detector_answers_like_the_one_that_was_saved(folder: Path) -> None:
    """Up to the 16 bits the weights are stored in."""
    before = OrientedDetector(small_network(), CARD).detect([chip(64, 64)], score_threshold=0.0)[0].detections
    loaded = load_detector(folder)
    after = loaded.detect([chip(64, 64)], score_threshold=0.0)[0].detections
    assert isinstance(loaded, Detector)
    assert len(after) == len(before) == 20
    np.testing.assert_allclose(np.sort(after.scores), np.sort(before.scores), atol=2e-3)


def test_answers_are_canonical_boxes_of_the_chip_frame_and_repeat_exactly(folder: Path) -> None:
    detector = load(folder, device="cpu", precision="float32")
    first, second = (detector.detect([chip(50, 71)], score_threshold=0.0)[0].detections for _ in range(2))
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert first.frame == Frame.CHIP
    assert len(first) > 0
    assert (first.boxes[:, 2] >= first.boxes[:, 3]).all()
    assert ((first.boxes[:, 4] >= -np.pi / 2) & (first.boxes[:, 4] < np.pi / 2)).all()
    assert ((first.boxes[:, :2] >= 0) & (first.boxes[:, :2] < (71, 50))).all()
    assert (np.diff(first.scores) <= 0).all()


def test_the_threshold_keeps_exactly_the_better_ones(folder: Path) -> None:
    detector = load(folder, device="cpu", precision="float32")
    everything = detector.detect([chip(64, 64)], score_threshold=0.0)[0].detections
    middle = float(np.median(everything.scores))
    kept = detector.detect([chip(64, 64)], score_threshold=middle)[0].detections
    assert len(kept) == np.count_nonzero(everything.scores >= middle) < len(everything)


def test_folding_normalisation_away_keeps_the_answers() -> None:
    network = small_network()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network(pixels).layers[-1]
        folded = OrientedDetector(network, CARD)._network
        found = folded(pixels).layers[-1]
    assert not [module for module in folded.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(found.logits.sort(1).values, expected.logits.sort(1).values, rtol=1e-3, atol=1e-4)


def test_sixteen_bit_arithmetic_keeps_places_to_a_fraction_of_a_pixel(folder: Path) -> None:
    """Coordinates stay in 32 bits: bfloat16 has steps of 2 px at 500 px. The chip is wide, the network untrained."""
    wide = chip(32, 1024)
    exact, coarse = (
        load(folder, device="cpu", precision=precision).detect([wide], score_threshold=0.0)[0].detections
        for precision in ("float32", "bfloat16")
    )
    near = np.abs(exact.boxes[:, None, :2] - coarse.boxes[None, :, :2]).max(-1).min(1)
    assert np.median(near) < 0.25


@pytest.mark.parametrize(("share", "queries"), [(1.0, 20), (0.9, 18), (0.25, FEWEST_QUERIES)])
def test_a_crop_gets_its_share_of_the_queries(folder: Path, share: float, queries: int) -> None:
    """The network keeps the queries that fall outside the chip to itself: a chip without padding shows them all."""
    detector = OrientedDetector(small_network(), CARD)
    shared = replace(chip(64, 64), share=share)
    with torch.inference_mode():
        layers = detector._network(batch_of([shared], CARD, 32, torch.device("cpu")), queries=queries).layers
    assert layers[-1].logits.shape[1] == queries
    found = detector.detect([shared], score_threshold=0.0)[0].detections
    assert len(found) <= queries
    np.testing.assert_array_equal(np.sort(found.scores), np.sort(_scores_inside(layers)))


def _scores_inside(layers: tuple[LayerOutput, ...]) -> np.ndarray:
    """Of queries whose box has its centre inside a chip of 64 x 64."""
    scores = torch.stack([layer.logits for layer in layers]).sigmoid().mean(0)[0, :, 0].double().numpy()
    centres = layers[-1].boxes[0, :, :2].numpy()
    return scores[((centres >= 0) & (centres < 64)).all(axis=1)]


def test_no_chips_no_looks(folder: Path) -> None:
    assert load(folder, device="cpu", precision="float32").detect([], score_threshold=0.5) == []


def damage_nan(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors["score_heads.0.weight"][0, 0] = torch.nan
    save_file(tensors, folder / WEIGHTS_FILE)


def damage_missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    del tensors["score_heads.0.weight"]
    save_file(tensors, folder / WEIGHTS_FILE)


def damage_config(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**config, "width": 64}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_nan, "1 of .* weights hold NaN or infinity"),
        (damage_missing_tensor, "score_heads.0.weight"),
        (damage_config, "does not fit"),
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), "cannot read the weights"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"pickle?"), "cannot read the weights"),
        (lambda folder: (folder / CONFIG_FILE).write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / CONFIG_FILE).write_text('{"model_type": "detr"}'), "not of model type"),
    ],
    ids=["nan", "missing tensor", "other width", "no weights", "no safetensors", "no json", "foreign"],
)
def test_weights_that_do_not_fit_are_refused_in_one_sentence(folder: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load_network(folder)
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_not_finite_is_an_error() -> None:
    network = small_network()
    with torch.no_grad():
        network.score_heads[-1].bias.fill_(torch.nan)
    with pytest.raises(ModelError, match="NaN or infinity"):
        OrientedDetector(network, CARD).detect([chip(64, 64)], score_threshold=0.0)


def test_a_chip_with_another_number_of_bands_is_refused(folder: Path) -> None:
    grey = Chip(pixels=np.zeros((64, 64, 1), np.uint8), window=Window(x=0, y=0, width=64, height=64))
    with pytest.raises(ModelError, match="takes 3 bands"):
        load(folder, device="cpu", precision="float32").detect([grey], score_threshold=0.0)
