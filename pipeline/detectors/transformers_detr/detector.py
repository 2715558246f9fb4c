"""Any DETR-family checkpoint of the transformers library as a :class:`~pipeline.detectors.protocol.Detector`.

RT-DETR, RT-DETRv2, D-FINE, DEIMv2, RF-DETR, LW-DETR, Deformable DETR, Conditional DETR, DAB-DETR, DETR, YOLOS:
``config.json``, safetensors and ``preprocessor_config.json`` in a folder. No code from the folder is ever run, nothing
is unpickled. Boxes are horizontal: their angle is 0, or -pi/2 for the tall ones (``w >= h``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors.attention import AttentionRecord, Placement, QueryWeights, watch
from pipeline.detectors.checkpoint import (
    CONFIG,
    check_keys,
    check_sizes,
    model_type,
    read_json,
    read_state_dict,
)
from pipeline.detectors.cross_attention import Decoder
from pipeline.detectors.protocol import queries_for
from pipeline.detectors.transformers_detr.attention import decoder_of
from pipeline.detectors.transformers_detr.card import foreign_card
from pipeline.detectors.transformers_detr.model_types import MODEL_TYPES
from pipeline.detectors.transformers_detr.nulls import without_nulls
from pipeline.detectors.transformers_detr.preprocessing import Preprocessing, pad_batch, read_preprocessing
from pipeline.detectors.transformers_detr.timm_resnet import replace_timm_backbone
from pipeline.errors import ModelError, one_sentence
from pipeline.geometry.obb import canonical_obb
from pipeline.names import listed, quoted
from pipeline.types import AttentionMap, BoolArray, Chip, Detections, FloatArray, Frame, Look, ModelCard

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(folder: Path, *, device: str = "cpu", precision: str = "float32") -> TransformersDetr:
    """The detector in ``folder``, ready to look.

    ``precision`` is the arithmetic inside the network (autocast); weights stay float32. Raises ModelError when the
    folder is no such checkpoint or its weights do not fit.
    """
    kind = model_type(folder)
    if kind not in MODEL_TYPES:
        raise ModelError(
            f"{folder / CONFIG} describes a {quoted(kind)}, which is no detector this program knows: "
            f"use one of {', '.join(MODEL_TYPES)}"
        )
    card = foreign_card(folder, kind)
    network = load_network(folder, kind).to(device).eval()
    if len(card.classes) != network.config.num_labels:
        raise ModelError(
            f"{folder}: the card names {len(card.classes)} classes, the network has {network.config.num_labels}"
        )
    return TransformersDetr(
        card=card,
        network=network,
        preprocessing=read_preprocessing(folder, kind),
        device=device,
        precision=precision,
        sigmoid_scores=scores_by_sigmoid(network),
    )


def scores_by_sigmoid(network: Any) -> bool:
    """Whether one of the library's networks scores every class by itself, not against the others and "no object"."""
    return MODEL_TYPES[network.config.model_type].sigmoid and bool(getattr(network.config, "use_focal_loss", True))


def load_network(folder: Path, kind: str) -> Any:
    """The library's network with the folder's weights, every one of them in its place."""
    stated = read_json(folder / CONFIG)
    check_sizes(stated, folder / CONFIG)
    config_json, tensors = replace_timm_backbone(folder, stated, read_state_dict(folder))
    with quiet():
        try:
            config_class = getattr(transformers, MODEL_TYPES[kind].config_class)
            config = config_class.from_dict(without_nulls(config_json, config_class))
            network, found = getattr(transformers, MODEL_TYPES[kind].network_class).from_pretrained(
                None, config=config, state_dict=tensors, dtype=torch.float32, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
        except (StrictDataclassError, ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError,
                TypeError, ValueError) as error:  # fmt: skip
            # A config is free-form: what a wrong value breaks inside the library may be any of these.
            raise ModelError(
                f"{folder / CONFIG} describes no {kind} network that can be built: {one_sentence(error)}"
            ) from error
    mismatched = {name if isinstance(name, str) else str(name[0]) for name in found["mismatched_keys"]}
    missing, unexpected = set(found["missing_keys"]) - mismatched, set(found["unexpected_keys"])
    check_keys(folder, missing=missing, unexpected=unexpected, mismatched=mismatched)
    return network


@contextmanager
def quiet() -> Iterator[None]:
    """The library reports what we check ourselves; keep its tables and progress bars off the user's screen."""
    log = transformers.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransformersDetr:
    """A horizontal-box detector around one of the library's networks."""

    card: ModelCard
    network: Any
    preprocessing: Preprocessing
    device: str
    precision: str
    sigmoid_scores: bool
    """Trained with a focal loss: every class has its own sigmoid. Otherwise softmax with "no object" as last class."""
    query_weights: QueryWeights = "mean"

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """One Look per chip, in order; see :meth:`pipeline.detectors.protocol.Detector.detect`.

        Chips that the network sees at one size share a forward pass; networks that take a pixel mask take all chips
        in one. Raises ModelError for chips with another number of bands or an answer that is not finite.
        """
        images = [self.preprocessing.prepare(self._checked(chip), chip.share) for chip in chips]
        looks: dict[int, Look] = {}
        for rows in self._groups(images):
            pixels, mask = pad_batch([images[row] for row in rows], self._pad_size())
            share = max(chips[row].share for row in rows)
            with watch(self._decoder() if attention else None) as record, _fewer_queries(self.network, share):
                logits, boxes = self._forward(pixels, mask)
            placements = [_placement(chips[row], images[row], pixels) for row in rows]
            maps = self._maps(record, logits, placements)
            for number, (row, place) in enumerate(zip(rows, placements, strict=True)):
                answers = self._select(logits[number], boxes[number], score_threshold)
                looks[row] = Look(_to_detections(*answers, width=place.width, height=place.height), maps[number])
        return [looks[row] for row in range(len(chips))]

    def _checked(self, chip: Chip) -> NDArray[np.uint8]:
        bands = chip.pixels.shape[2]
        if bands != len(self.card.bands):
            raise ModelError(
                f"{self.card.name} looks at {len(self.card.bands)} bands ({listed(self.card.bands)}), "
                f"but the chip has {bands}: choose them with raster.bands"
            )
        return chip.pixels

    def _decoder(self) -> Decoder | None:
        return decoder_of(self.network, MODEL_TYPES[self.network.config.model_type])

    def _pad_size(self) -> tuple[int, int] | None:
        return self.preprocessing.pad_size if self.preprocessing.pad else None

    def _groups(self, images: Sequence[NDArray[np.float32]]) -> list[list[int]]:
        """Rows that share a forward pass: all of them with padding, else those of one size."""
        if self.preprocessing.pad:
            return [list(range(len(images)))] if images else []
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, image in enumerate(images):
            groups.setdefault(image.shape, []).append(row)
        return list(groups.values())

    def _forward(self, pixels: NDArray[np.float32], mask: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Logits (B, Q, K) and boxes (B, Q, 4) as cx, cy, w, h in units of the chip, float64."""
        inputs: dict[str, Tensor] = {"pixel_values": torch.from_numpy(pixels).to(self.device)}
        if self.preprocessing.pad:
            inputs["pixel_mask"] = torch.from_numpy(mask.astype(np.int64)).to(self.device)
        autocast = torch.autocast(
            torch.device(self.device).type, DTYPES[self.precision], enabled=self.precision != "float32"
        )
        try:
            with torch.inference_mode(), autocast:
                answer = self.network(**inputs)
        except torch.OutOfMemoryError:  # a RuntimeError too, but no fault of the network's
            raise
        except RuntimeError as error:
            raise ModelError(
                f"{self.card.name} cannot look at {len(pixels)} chips of {pixels.shape[2:]} ({one_sentence(error)}): "
                f"check its {CONFIG}"
            ) from error
        logits, boxes = (part.float().cpu().numpy().astype(np.float64) for part in (answer.logits, answer.pred_boxes))
        if not (np.isfinite(logits).all() and np.isfinite(boxes).all()):
            raise ModelError(
                f"{self.card.name} answered NaN or infinity (in {self.precision}): "
                "try detector.dtype=float32, or other weights"
            )
        return logits, boxes

    def _maps(
        self, record: AttentionRecord, logits: FloatArray, placements: Sequence[Placement]
    ) -> Sequence[AttentionMap | None]:
        weights = self._scores(logits).max(-1) if self.query_weights == "score" else None
        return record.maps(placements, weights)

    def _scores(self, logits: FloatArray) -> FloatArray:
        """(..., Q, classes) from logits (..., Q, K)."""
        if self.sigmoid_scores:
            return 1 / (1 + np.exp(-logits))
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores: FloatArray = (shifted / shifted.sum(axis=-1, keepdims=True))[..., :-1]
        return scores

    def _select(
        self, logits: FloatArray, boxes: FloatArray, score_threshold: float
    ) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
        """Scores, class indices and boxes of one chip, best first, as the library's post-processing gives them.

        With sigmoids, the best Q of all Q x K pairs of query and class (``post_process_object_detection`` with
        ``top_k`` = Q: nothing is cut off below the number of queries). With softmax, each query's best class.
        """
        queries, classes = logits.shape
        of_query = self._scores(logits)
        if self.sigmoid_scores:
            flat = of_query.ravel()
            order = np.argsort(-flat, kind="stable")[:queries]
            scores, query, label = flat[order], order // classes, order % classes
        else:
            best = of_query.max(axis=1)
            query = np.argsort(-best, kind="stable")
            scores, label = best[query], of_query.argmax(axis=1)[query]
        keep = scores >= score_threshold
        return scores[keep], label[keep].astype(np.int64), boxes[query[keep]]


@contextmanager
def _fewer_queries(network: Any, share: float) -> Iterator[None]:
    """Inside, a network that picks its queries by the picture picks ``share`` of them; learned ones all take part."""
    config = network.config
    if share >= 1 or not MODEL_TYPES[config.model_type].picks_queries or getattr(config, "learn_initial_query", False):
        yield
        return
    queries = config.num_queries
    told = [one for one in (config, network.model) if hasattr(one, "num_queries")]  # RF-DETR's and LW-DETR's keep it
    for one in told:
        one.num_queries = queries_for(share, queries)
    try:
        yield
    finally:
        for one in told:
            one.num_queries = queries


def _placement(chip: Chip, image: NDArray[np.float32], pixels: NDArray[np.float32]) -> Placement:
    """Where a chip, prepared as (C, H', W') ``image``, lies in its batch."""
    height, width = chip.pixels.shape[:2]
    share_y, share_x = image.shape[1] / pixels.shape[2], image.shape[2] / pixels.shape[3]
    return Placement(height=height, width=width, share_y=share_y, share_x=share_x)


def _to_detections(
    scores: FloatArray, class_ids: NDArray[np.int64], boxes: FloatArray, *, width: int, height: int
) -> Detections:
    """Canonical oriented boxes in chip pixels from cx, cy, w, h in units of the chip.

    But those without area, and those whose centre lies outside: RF-DETR and LW-DETR put no bound to where it is.
    """
    inside = ((boxes[:, :2] >= 0) & (boxes[:, :2] <= 1)).all(axis=1)
    scaled = np.zeros((len(boxes), 5))
    scaled[:, :4] = boxes * np.array([width, height, width, height], np.float64)
    keep = (scaled[:, 2] > 0) & (scaled[:, 3] > 0) & inside
    return Detections(canonical_obb(scaled[keep]), scores[keep], class_ids[keep], Frame.CHIP)
