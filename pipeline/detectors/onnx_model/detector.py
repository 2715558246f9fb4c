"""An ONNX file as a :class:`~pipeline.detectors.protocol.Detector`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.distinct import distinct
from pipeline.detectors.onnx_model.card import Description, describe
from pipeline.detectors.onnx_model.decode import Decoded, Question, decode
from pipeline.detectors.onnx_model.graph import read_graph
from pipeline.detectors.onnx_model.layout import ORIENTED_DET
from pipeline.detectors.onnx_model.network_input import Placed, feed, place, table, true_scale
from pipeline.detectors.onnx_model.session import Session
from pipeline.errors import ConfigError, ModelError
from pipeline.geometry.obb import canonical_obb
from pipeline.names import listed
from pipeline.types import Chip, Detections, Frame, Look, ModelCard

MOST_BOXES = 5000
"""Boxes of one chip that NMS and the pipeline see, the best: where every point says something, the rest is noise."""


class OnnxDetector:
    """Boxes from chips of any size, from a network that others trained. It has no attention map to give."""

    def __init__(self, description: Description, *, device: str = "cpu", threads: int = 1) -> None:
        """Raises ModelError where the runtime refuses the file, ConfigError where there is no such device."""
        self._description = description
        self._session = Session(description.graph, device=device, threads=threads)
        card, picture = description.card, description.picture
        self._values = table(card.mean, card.std, raw=picture.raw)

    @property
    def card(self) -> ModelCard:
        return self._description.card

    def detect(self, chips: Sequence[Chip], *, score_threshold: float, attention: bool = False) -> list[Look]:
        """See :meth:`pipeline.detectors.protocol.Detector.detect`.

        Chips that are fed at one size share a pass, so that what is said of one does not depend on the others.
        """
        placed = [place(self._checked(chip), self._description.picture, self._description.stride) for chip in chips]
        looks: dict[int, Look] = {}
        for rows in self._passes(placed):
            answers = self._answers([placed[row] for row in rows])
            for number, row in enumerate(rows):
                parts = [part[number] for part in answers]
                looks[row] = Look(self._detections(parts, placed[row], chips[row], score_threshold))
        return [looks[row] for row in range(len(chips))]

    def _checked(self, chip: Chip) -> NDArray[np.uint8]:
        bands, card = chip.pixels.shape[2], self.card
        if bands != len(card.bands):
            raise ModelError(
                f"model {card.name} takes {len(card.bands)} bands ({listed(card.bands)}), the chip has {bands}; "
                "choose bands with --raster.bands"
            )
        return chip.pixels

    def _passes(self, placed: Sequence[Placed]) -> list[list[int]]:
        """Rows that go through the network together: of one size, and never more than a fixed batch."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for row, one in enumerate(placed):
            by_size.setdefault((one.height, one.width), []).append(row)
        most = 1 if self._description.answers.layout is ORIENTED_DET else self._description.picture.batch
        return [
            rows[start : start + step]
            for rows in by_size.values()
            for step in (most or len(rows),)
            for start in range(0, len(rows), step)
        ]

    def _answers(self, placed: Sequence[Placed]) -> list[NDArray[Any]]:
        """The outputs, all with a first axis over the chips. Raises ModelError for what is no finite number."""
        answers, picture = self._description.answers, self._description.picture
        fed = feed(placed, picture, self._values, answers.layout.grey)
        parts = self._session.run(answers.names, fed)
        if answers.layout is ORIENTED_DET:  # one chip a pass, and no axis for it
            parts = [part[None] for part in parts]
        for name, part in zip(answers.names, parts, strict=True):
            if part.ndim == 0 or len(part) < len(placed) or part.dtype.kind not in "fiu":
                raise ModelError(
                    f"model {self.card.name}: the output {name} is {part.dtype} {part.shape} for a batch of "
                    f"{len(placed)}: export it again"
                )
            if not np.isfinite(part).all():
                raise ModelError(
                    f"model {self.card.name}: the network answered NaN or infinity; its weights are damaged"
                )
        return parts

    def _detections(
        self, parts: Sequence[NDArray[Any]], placed: Placed, chip: Chip, score_threshold: float
    ) -> Detections:
        layout = self._description.answers.layout
        question = Question(
            classes=len(self.card.classes), width=placed.width, height=placed.height, threshold=score_threshold
        )
        try:
            decoded = decode(layout, parts, question)
        except ValueError as error:
            raise ModelError(
                f"model {self.card.name} is no {layout.name} as its outputs were taken for: {error}; say its layout "
                "and classes in a card beside it"
            ) from error
        found = in_chip(decoded, placed, chip)
        return distinct(found) if layout.overlapping else found


def in_chip(decoded: Decoded, placed: Placed, chip: Chip) -> Detections:
    """Boxes of the network's input as canonical ones of the chip: with area, centre inside, best first, bounded."""
    height, width = chip.pixels.shape[:2]
    boxes = decoded.boxes.copy()
    scale = true_scale(placed, height, width)
    boxes[:, :2] /= scale
    boxes[:, 2:4] /= np.sqrt(scale.prod())  # one number: a turned box has no side along an axis
    keep = (boxes[:, 2:4] > 0).all(axis=1) & (boxes[:, :2] >= 0).all(axis=1)
    keep &= (boxes[:, 0] < width) & (boxes[:, 1] < height)
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(-decoded.scores[rows], kind="stable")][:MOST_BOXES]
    return Detections(canonical_obb(boxes[rows]), decoded.scores[rows], decoded.class_ids[rows], Frame.CHIP)


def load(path: Path, *, device: str, precision: str, threads: int) -> OnnxDetector:
    """The detector in an ONNX file. Raises ModelError when anything does not fit, ConfigError for a type of numbers."""
    if precision != "float32":
        raise ConfigError(
            f"detector.dtype={precision}: an ONNX file computes in the types it was exported with; leave it float32"
        )
    return OnnxDetector(describe(read_graph(path)), device=device, threads=threads)
