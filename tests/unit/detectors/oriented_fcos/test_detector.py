"""The oriented FCOS from a folder and back, one box an object, and a sentence for everything that does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import CONFIG, WEIGHTS, weights_sha256
from pipeline.detectors.distinct import SAME_OBJECT_IOU
from pipeline.detectors.loading import load_detector
from pipeline.detectors.oriented_fcos.detector import OrientedFCOSDetector
from pipeline.detectors.oriented_fcos.folder import load_network, read_config, save_network
from pipeline.detectors.torch_boxes import canonical
from pipeline.errors import ModelError
from pipeline.geometry.overlap import rotated_iou_pairs
from tests.contracts.detector import make_chip
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.oriented import CARD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_network(tmp_path, small_fcos())
    write_card(tmp_path, replace(CARD, sha256=weights_sha256(tmp_path)))
    return tmp_path


def test_a_saved_detector_answers_like_the_one_that_was_saved(folder: Path) -> None:
    """Up to the 16 bits the weights are stored in."""
    before = OrientedFCOSDetector(small_fcos(), CARD).detect([make_chip((64, 64))], score_threshold=0.0)[0].detections
    after = load_detector(folder).detect([make_chip((64, 64))], score_threshold=0.0)[0].detections
    assert len(before) > 100
    assert abs(len(after) - len(before)) < 5
    np.testing.assert_allclose(after.scores[:20], before.scores[:20], atol=5e-3)


def test_the_score_is_the_root_of_class_times_quality() -> None:
    network = small_fcos()
    with torch.inference_mode():
        detector = OrientedFCOSDetector(small_fcos(), CARD)
        (look,) = detector.detect([make_chip((64, 64))], score_threshold=0.0)
        chip = torch.from_numpy(make_chip((64, 64)).pixels).permute(2, 0, 1)[None].float()
        output = network((chip / 255 - torch.tensor(CARD.mean[0])) / CARD.std[0])
    expected = (output.logits[0, :, 0].sigmoid() * output.quality[0].sigmoid()).sqrt().numpy()
    boxes = canonical(output.boxes[0]).numpy()
    for box, score in zip(look.detections.boxes, look.detections.scores, strict=True):
        assert np.abs(expected[np.abs(boxes - box).max(1) < 0.05] - score).min() < 1e-3
    assert look.attention is None


def test_a_network_that_reconstructs_says_where_it_could_not_draw() -> None:
    """On the grid that attention maps have; a plain one has no such map."""
    network = small_fcos(replace(SMALL_FCOS, reconstruction="learnable"))
    (look,) = OrientedFCOSDetector(network, CARD).detect([make_chip((50, 71))], score_threshold=0.5)
    assert look.difference is not None
    assert look.difference.values.shape == (7, 9)
    assert look.difference.values.max() > 0.05
    (plain,) = OrientedFCOSDetector(small_fcos(), CARD).detect([make_chip((50, 71))], score_threshold=0.5)
    assert plain.difference is None


def test_one_look_answers_an_object_once() -> None:
    """Boxes as large as eight strides around every cell: those that stay overlap no more than the merge allows."""
    network = small_fcos()
    with torch.no_grad():
        network.box.bias[2:4] = 0.7
    (look,) = OrientedFCOSDetector(network, CARD).detect([make_chip((96, 96))], score_threshold=0.0)
    boxes = look.detections.boxes
    first, second = np.triu_indices(len(boxes), 1)
    assert 3 < len(boxes) < 200
    assert rotated_iou_pairs(boxes[first], boxes[second]).max() <= SAME_OBJECT_IOU
    assert (np.diff(look.detections.scores) <= 0).all()


def test_sixteen_bit_arithmetic_keeps_places_to_a_fraction_of_a_pixel(folder: Path) -> None:
    """Coordinates stay in 32 bits: bfloat16 has steps of 2 px at 500 px."""
    wide = make_chip((32, 1024))
    exact, coarse = (
        load_detector(folder, precision=precision).detect([wide], score_threshold=0.0)[0].detections
        for precision in ("float32", "bfloat16")
    )
    near = np.abs(exact.boxes[:, None, :2] - coarse.boxes[None, :, :2]).max(-1).min(1)
    assert np.median(near) < 0.25


def test_an_answer_that_is_not_finite_is_an_error() -> None:
    network = small_fcos()
    with torch.no_grad():
        network.quality.bias.fill_(torch.nan)
    with pytest.raises(ModelError, match="NaN or infinity"):
        OrientedFCOSDetector(network, CARD).detect([make_chip((64, 64))], score_threshold=0.0)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["class_tower.convolutions.0.weight"]
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: edit(folder / CONFIG, receptive_field="both"), "receptive_field must be none, first or last"),
        (lambda folder: edit(folder / CONFIG, receptive_field="last"), "does not fit the network of config.json"),
        (lambda folder: edit(folder / CONFIG, tower_layers=0), "tower_layers must be a whole number of at least 1"),
        (lambda folder: edit(folder / CONFIG, tower_layers=3), "does not fit the network of config.json"),
        (lambda folder: edit(folder / CONFIG, queries=100), "settings this version does not know: queries"),
        (lambda folder: edit(folder / CONFIG, model_type="kestrel_oriented_rtdetr"), "settings this version does not"),
        (without_a_tensor, "class_tower.convolutions.0.weight"),
        (
            lambda folder: edit(folder / "card.json", network=["efficientnet_lite0 backbone"]),
            "speaks of another network than config.json: efficientnet_lite0 backbone",
        ),
        (lambda folder: edit(folder / "card.json", classes=["a", "b"]), "the card names 2 classes, the network has 1"),
        (
            lambda folder: edit(folder / "card.json", bands=["nir"], mean=[0.25], std=[0.25]),
            "the card names 1 bands, the network has 3",
        ),
    ],
)
def test_a_folder_whose_files_disagree_is_refused_in_one_sentence(
    folder: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load_detector(folder)
    assert "\n" not in str(caught.value)


def test_the_other_family_does_not_read_it(folder: Path) -> None:
    from pipeline.detectors.oriented_rtdetr.folder import load_network as load_other

    with pytest.raises(ModelError, match="is not of model type kestrel_oriented_rtdetr"):
        load_other(folder)
    assert read_config(folder) == SMALL_FCOS
    assert load_network(folder).config == SMALL_FCOS
