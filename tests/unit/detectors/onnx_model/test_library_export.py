"""DETRs of the transformers library that torch exported: what the file answers is what the network answers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.detectors.loading import load_detector, read_model_card
from pipeline.errors import ModelError
from tests.contracts.detector import make_chip
from tests.support.checkpoints import CLASSES, make_network

HEIGHT, WIDTH = 64, 96
CARD = {"classes": CLASSES, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class Answers(torch.nn.Module):
    """The two outputs alone, of pixels and the mask of what is picture, as exporters write them."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: torch.Tensor, pixel_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answer = self.network(pixel_values=pixel_values, pixel_mask=pixel_mask)
        return answer.logits, answer.pred_boxes


@pytest.fixture(scope="module")
def network() -> Any:
    return make_network("detr")


@pytest.fixture(scope="module")
def exported(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detr") / "detr.onnx"
    shown = (torch.zeros(1, 3, HEIGHT, WIDTH), torch.ones(1, HEIGHT, WIDTH, dtype=torch.long))
    names = {"input_names": ["pixel_values", "pixel_mask"], "output_names": ["logits", "pred_boxes"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Answers(network).eval(), shown, str(path), opset_version=17, dynamo=False, **names)
    return path


def test_whether_the_last_class_is_no_object_is_asked_for(exported: Path) -> None:
    beside = exported.with_suffix(".card.json")
    beside.write_text(json.dumps(CARD))
    with pytest.raises(ModelError, match=r'write detr\.card\.json with {"activation": "softmax"} if the last of 4'):
        read_model_card(exported)
    beside.write_text(json.dumps({**CARD, "activation": "softmax"}))
    card = read_model_card(exported)
    assert card.classes == CLASSES
    assert "detr.onnx is read as a DETR with logits, the last of no object" in str(card.described)


def test_scores_and_boxes_are_those_of_the_network(network: Any, exported: Path) -> None:
    """By the definition of the paper (DETR, 2020): a softmax, the last class is dropped."""
    exported.with_suffix(".card.json").write_text(json.dumps({**CARD, "activation": "softmax"}))
    chip = make_chip((HEIGHT, WIDTH))
    (look,) = load_detector(exported).detect([chip], score_threshold=0.0)
    pixels = (chip.pixels / 255 - np.array(CARD["mean"])) / np.array(CARD["std"])
    with torch.inference_mode():
        answer = network(pixel_values=torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32))
    scores, class_ids = answer.logits[0].softmax(-1)[:, :-1].max(-1)
    order = scores.argsort(descending=True, stable=True)
    found = look.detections
    assert len(found) == len(scores)
    np.testing.assert_allclose(found.scores, scores[order], atol=1e-4)
    assert found.class_ids.tolist() == class_ids[order].tolist()
    centres = answer.pred_boxes[0, order, :2].numpy() * (WIDTH, HEIGHT)
    np.testing.assert_allclose(found.boxes[:, :2], centres, atol=1e-2)
