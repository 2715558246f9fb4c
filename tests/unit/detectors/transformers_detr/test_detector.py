"""Foreign checkpoints answer what the transformers library answers: its processor, its network, its post-processing.

The library's Pillow processors run without torchvision, so the comparison is with the library itself throughout. Only
RF-DETR has no such processor: its steps are taken here with torch (:class:`RFDetrProcessor`).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment
from transformers.models.conditional_detr.image_processing_pil_conditional_detr import ConditionalDetrImageProcessorPil
from transformers.models.deformable_detr.image_processing_pil_deformable_detr import DeformableDetrImageProcessorPil
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from pipeline.detectors.attention import attention_of
from pipeline.detectors.loading import load_detector
from pipeline.detectors.protocol import Detector, queries_for
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.errors import ModelError
from pipeline.geometry.obb import obb_to_corners
from pipeline.types import Chip, Detections, Frame, Window
from tests.support.checkpoints import CLASSES, FAMILIES, save_checkpoint, save_timm_checkpoint


class RFDetrProcessor(DeformableDetrImageProcessorPil):
    """``RfDetrImageProcessor`` without torchvision: rescale, resize (``antialias=False``), normalise. It answers as
    Deformable DETR's does, with as many boxes as there are queries."""

    def __call__(self, chips: list[np.ndarray], **_: Any) -> dict[str, torch.Tensor]:
        size = (self.size["height"], self.size["width"])
        scaled = [torch.from_numpy(chip.copy()).permute(2, 0, 1)[None].float() * self.rescale_factor for chip in chips]
        resized = [torch.nn.functional.interpolate(image, size=size, mode="bilinear") for image in scaled]
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.image_mean, self.image_std))
        return {"pixel_values": (torch.cat(resized) - mean) / std}


PROCESSORS = {
    "rt_detr": RTDetrImageProcessorPil,
    "rt_detr_v2": RTDetrImageProcessorPil,
    "d_fine": RTDetrImageProcessorPil,
    "deformable_detr": DeformableDetrImageProcessorPil,
    "conditional_detr": ConditionalDetrImageProcessorPil,
    "detr": DetrImageProcessorPil,
    "deimv2": RTDetrImageProcessorPil,
    "rf_detr": RFDetrProcessor,
    "lw_detr": DeformableDetrImageProcessorPil,
    "dab-detr": ConditionalDetrImageProcessorPil,
    "yolos": YolosImageProcessorPil,
}
TOP_K = {"top_k": 24}
POST_PROCESSING = dict.fromkeys(("deformable_detr", "conditional_detr", "rf_detr", "lw_detr", "dab-detr"), TOP_K)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def detectors(checkpoints: dict[str, Path]) -> dict[str, Detector]:
    return {family: load_detector(folder) for family, folder in checkpoints.items()}


def make_chips(*sizes: tuple[int, int], bands: int = 3, seed: int = 7) -> list[Chip]:
    """Chips with smooth random content, of the given (height, width)."""
    rng = np.random.default_rng(seed)
    chips = []
    for height, width in sizes:
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, bands), dtype=np.uint8)
        pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        chips.append(Chip(pixels=pixels, window=Window(x=0, y=0, width=width, height=height)))
    return chips


def library_network(folder: Path) -> Any:
    return transformers.AutoModelForObjectDetection.from_pretrained(folder, dtype=torch.float32).eval()


def library_answer(
    family: str, folder: Path, chips: list[Chip], post_processor: Any = None
) -> list[dict[str, torch.Tensor]]:
    """Scores, labels and corner boxes from the library alone."""
    processor = PROCESSORS[family](**json.loads((folder / "preprocessor_config.json").read_text()))
    inputs = processor([chip.pixels for chip in chips], return_tensors="pt")
    with torch.inference_mode():
        outputs = library_network(folder)(**inputs)
    sizes = [chip.pixels.shape[:2] for chip in chips]
    post_process = (post_processor or processor).post_process_object_detection
    return list(post_process(outputs, threshold=0.0, target_sizes=sizes, **POST_PROCESSING.get(family, {})))


def table(detections: Detections) -> np.ndarray:
    """Rows of left, top, right, bottom, score, class: what the library's answer can be compared with."""
    corners = obb_to_corners(detections.boxes)
    return np.column_stack([corners.min(axis=1), corners.max(axis=1), detections.scores, detections.class_ids])


def assert_same_answers(detections: Detections, expected: dict[str, torch.Tensor], chip: Chip) -> None:
    """The same set of boxes with their centre inside the chip, scores and classes; order does not matter, as scores may
    tie in float32."""
    theirs = np.column_stack([expected["boxes"], expected["scores"], expected["labels"]]).astype(np.float64)
    theirs = theirs[(theirs[:, 2] > theirs[:, 0]) & (theirs[:, 3] > theirs[:, 1])]
    centres = (theirs[:, :2] + theirs[:, 2:4]) / 2
    theirs = theirs[((centres >= 0) & (centres <= chip.pixels.shape[1::-1])).all(axis=1)]
    ours = table(detections)
    assert ours.shape == theirs.shape
    cost = np.abs(ours[:, None] - theirs[None]).max(axis=2)
    assert cost[linear_sum_assignment(cost)].max() < 5e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixed_batch_is_answered_as_by_the_library(
    family: str, checkpoints: dict[str, Path], detectors: dict[str, Detector]
) -> None:
    """Chips that are wide, tall, odd-sized, larger and smaller than the input, in one batch, for every family."""
    chips = make_chips((64, 96), (101, 57), (200, 150), (96, 128))
    looks = detectors[family].detect(chips, score_threshold=0.0)
    # YOLOS takes padding for picture: in the library an answer depends on the rest of the batch, so each chip alone
    batches = [[chip] for chip in chips] if family == "yolos" else [chips]
    expected = [answer for batch in batches for answer in library_answer(family, checkpoints[family], batch)]
    for look, answer, chip in zip(looks, expected, chips, strict=True):
        assert look.detections.frame is Frame.CHIP
        assert look.attention is None
        assert_same_answers(look.detections, answer, chip)
    scores = np.concatenate([look.detections.scores for look in looks])
    classes = np.concatenate([look.detections.class_ids for look in looks])
    assert np.ptp(scores) > 0.02, "the random network answers everything alike: it could not show a mistake"
    assert len(np.unique(classes)) > 1, "the random network knows one class: it could not show a mistake"


@pytest.mark.parametrize("family", ["rt_detr", "rt_detr_v2"])
def test_a_network_trained_without_focal_loss_is_read_with_softmax(family: str, tmp_path: Path) -> None:
    """DETR's own post-processing is the reference: RT-DETR's takes the softmax along the batch (a slip in 5.23
    and 5.24)."""
    folder = save_checkpoint(family, tmp_path, use_focal_loss=False)
    chips = make_chips((64, 96))
    [look] = load_detector(folder).detect(chips, score_threshold=0.0)
    [expected] = library_answer(family, folder, chips, DetrImageProcessorPil())
    assert_same_answers(look.detections, expected, chips[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_are_canonical_and_best_first(family: str, detectors: dict[str, Detector]) -> None:
    [look] = detectors[family].detect(make_chips((120, 80)), score_threshold=0.0)
    width, height, angle = look.detections.boxes[:, 2:].T
    assert (width >= height).all()
    assert set(np.unique(angle)) <= {0.0, -np.pi / 2}
    assert (np.diff(look.detections.scores) <= 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_stays_near_float32(family: str, checkpoints: dict[str, Path], detectors: dict[str, Detector]) -> None:
    chips = make_chips((64, 96))
    full = detectors[family].detect(chips, score_threshold=0.0)[0].detections
    half = load_detector(checkpoints[family], precision="bfloat16").detect(chips, score_threshold=0.0)[0].detections
    assert not np.array_equal(full.scores, half.scores), "bfloat16 was not used"
    np.testing.assert_allclose(half.scores[:12], full.scores[:12], atol=0.1)


def test_the_threshold_is_inclusive(detectors: dict[str, Detector]) -> None:
    detector, chips = detectors["rt_detr"], make_chips((64, 64))
    scores = detector.detect(chips, score_threshold=0.0)[0].detections.scores
    kept = detector.detect(chips, score_threshold=float(scores[4]))[0].detections.scores
    np.testing.assert_array_equal(kept, scores[scores >= scores[4]])
    assert 0 < len(kept) < len(scores)
    assert len(detector.detect(chips, score_threshold=1.0)[0].detections) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_crop_costs_its_share_of_a_whole_look(family: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """In pixels for every family, in queries for those that pick them by the picture; whole looks stay as they were."""
    folder = Path(shutil.copytree(checkpoints[family], tmp_path / family))
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= {"do_resize": True, "size": {"height": 192, "width": 192 if MODEL_TYPES[family].windows else 256}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    detector = load_detector(folder)
    network = detector.network  # type: ignore[attr-defined]
    whole, crop = make_chips((96, 96))[0], replace(make_chips((48, 48))[0], share=0.25)
    seen: list[tuple[int, int, int]] = []

    def watch(_module: Any, _inputs: Any, kwargs: dict[str, Any], answer: Any) -> None:
        height, width = kwargs["pixel_values"].shape[2:]
        seen.append((height, width, answer.logits.shape[1]))

    with network.register_forward_hook(watch, with_kwargs=True):
        before = detector.detect([whole], score_threshold=0.0)
        detector.detect([crop], score_threshold=0.0)
        after = detector.detect([whole], score_threshold=0.0)
    (height, width, queries), (low, narrow, fewer), again = seen
    assert again == (height, width, queries)
    assert (low, narrow) == (height // 2, width // 2)
    assert fewer == (queries_for(0.25, queries) if MODEL_TYPES[family].picks_queries else queries)
    np.testing.assert_array_equal(table(before[0].detections), table(after[0].detections))


def test_a_network_without_cross_attention_says_so(detectors: dict[str, Detector]) -> None:
    [look] = detectors["yolos"].detect(make_chips((64, 64)), score_threshold=0.0, attention=True)
    assert look.attention is None
    assert len(look.detections) > 0
    with pytest.raises(ModelError, match="no decoder cross-attention"):
        attention_of(detectors["yolos"], make_chips((64, 64))[0])


def test_no_chips_no_looks(detectors: dict[str, Detector]) -> None:
    for family in FAMILIES:
        assert detectors[family].detect([], score_threshold=0.5) == []


def test_the_answer_for_a_chip_is_the_same_bytes_every_time(checkpoints: dict[str, Path]) -> None:
    chips = make_chips((64, 96), (64, 96), seed=3)
    first, second = (load_detector(checkpoints["rt_detr_v2"]).detect(chips, score_threshold=0.0) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.detections.boxes.tobytes() == other.detections.boxes.tobytes()
        assert one.detections.scores.tobytes() == other.detections.scores.tobytes()


def test_views_with_odd_strides_are_read_right(detectors: dict[str, Detector]) -> None:
    """A chip is a view into its block: rows are not contiguous."""
    [whole] = make_chips((160, 160))
    view = whole.pixels[20:100, 30:126]
    window = Window(x=30, y=20, width=96, height=80)
    detector = detectors["d_fine"]
    looks = [
        detector.detect([Chip(pixels=pixels, window=window)], score_threshold=0.0)[0]
        for pixels in (view, np.ascontiguousarray(view))
    ]
    np.testing.assert_array_equal(looks[0].detections.boxes, looks[1].detections.boxes)


def test_chips_with_another_number_of_bands_are_refused(detectors: dict[str, Detector]) -> None:
    with pytest.raises(ModelError, match=r"3 bands \(red, green, blue\).*chip has 4"):
        detectors["detr"].detect(make_chips((64, 64), bands=4), score_threshold=0.5)


def test_a_four_band_network_is_fed_band_by_band(tmp_path: Path) -> None:
    """Pillow would take four bands for colour and transparency and mix them; each must be resized on its own."""
    backbone = transformers.RTDetrResNetConfig(
        num_channels=4, embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], layer_type="basic",
        out_indices=[2, 3, 4],
    )  # fmt: skip
    detector = load_detector(save_checkpoint("rt_detr", tmp_path, backbone_config=backbone))
    assert detector.card.bands == ("band_1", "band_2", "band_3", "band_4")
    [chip] = make_chips((64, 64), bands=4)
    dark = chip.pixels.copy()
    dark[..., 3] = 0
    prepared = [detector.preprocessing.prepare(pixels) for pixels in (chip.pixels, dark)]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(prepared[0][:3], prepared[1][:3])
    assert len(detector.detect([chip], score_threshold=0.0)[0].detections) > 0


@pytest.mark.parametrize("family", ["rt_detr", "detr"])
def test_a_network_that_answers_nan_is_an_error(family: str, tmp_path: Path) -> None:
    """Finite weights can still overflow inside the network."""
    folder = save_checkpoint(family, tmp_path)
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if "input_proj" in name and name.endswith("weight")]:
        weights[name] = torch.full_like(weights[name], 3e38)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"answered NaN or infinity.*float32"):
        load_detector(folder).detect(make_chips((64, 64)), score_threshold=0.5)


@pytest.mark.parametrize(
    ("family", "bottleneck", "spelling"),
    [
        ("detr", True, "flat"),
        ("detr", False, "nested"),
        ("conditional_detr", True, "nested"),
        ("conditional_detr", False, "flat"),
        ("deformable_detr", True, "flat"),
        ("deformable_detr", False, "nested"),
        ("dab-detr", True, "flat"),
        ("dab-detr", False, "nested"),
    ],
)
def test_a_timm_backbone_computes_the_same_features(
    family: str, bottleneck: bool, spelling: str, tmp_path: Path
) -> None:
    """Weights under timm's names, in a ResNet of our own writing, against the library's ResNet after the renaming."""
    backbone = save_timm_checkpoint(family, tmp_path, bottleneck=bottleneck, spelling=spelling)
    detector: Detector = load_detector(tmp_path)
    pixels = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = backbone(pixels)[1:] if family == "deformable_detr" else backbone(pixels)[3:]
        network = detector.network.model.backbone  # type: ignore[attr-defined]
        answer = network(pixels, torch.ones(1, 64, 96))
        features = [feature for feature, _ in (answer[0] if family == "dab-detr" else answer)][-len(expected) :]
    for ours, theirs in zip(features, expected, strict=True):
        assert float(theirs.std()) > 0.01
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert len(detector.detect(make_chips((64, 64)), score_threshold=0.0)[0].detections) > 0


@pytest.mark.parametrize(
    ("change", "names"),
    [({"backbone": "resnet50d"}, "timm's resnet50d"), ({"dilation": True}, "resnet50 with dilation")],
)
def test_another_timm_backbone_is_refused_in_one_sentence(change: dict[str, Any], names: str, tmp_path: Path) -> None:
    save_timm_checkpoint("detr", tmp_path, bottleneck=True, spelling="flat")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=names):
        load_detector(tmp_path)


def test_classes_are_in_the_order_of_the_networks_answers(detectors: dict[str, Detector]) -> None:
    for family in FAMILIES:
        assert detectors[family].card.classes == CLASSES
