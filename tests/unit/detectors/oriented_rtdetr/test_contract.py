"""The oriented RT-DETR keeps what every detector promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_rtdetr.folder import save_network
from tests.contracts.detector import CheckpointContract
from tests.support.oriented import CARD, small_network


class TestOrientedRTDetr(CheckpointContract):
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("oriented")
        save_network(folder, small_network())
        write_card(folder, replace(CARD, sha256=weights_sha256(folder)))
        return folder
