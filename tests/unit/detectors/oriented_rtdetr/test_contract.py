"""The oriented RT-DETR keeps what every detector promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.protocol import Detector
from pipeline.types import Chip
from tests.contracts.detector import CheckpointContract
from tests.support.oriented import CARD, small_network


def saved(folder: Path, **shape: Any) -> Path:
    save_network(folder, small_network(**shape))
    write_card(folder, replace(CARD, sha256=weights_sha256(folder)))
    return folder


class TestOrientedRTDetr(CheckpointContract):
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return saved(tmp_path_factory.mktemp("oriented"))


class TestOrientedRTDetrThatReconstructs(CheckpointContract):
    @pytest.fixture(scope="class", params=["learnable", "official"])
    @classmethod
    def folder(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return saved(tmp_path_factory.mktemp(request.param), reconstruction=request.param)

    def test_it_gives_a_difference_map(self, detector: Detector, chips: list[Chip]) -> None:
        assert all(look.difference is not None for look in detector.detect(chips, score_threshold=0.0))
