"""The oriented FCOS keeps what every detector promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_fcos.folder import save_network
from tests.contracts.detector import CheckpointContract
from tests.support.fcos import SMALL_FCOS, small_fcos
from tests.support.oriented import CARD

PARTS = ({}, {"receptive_field": "last"}, {"reconstruction": "learnable", "foreground": True})


class TestOrientedFCOS(CheckpointContract):
    @pytest.fixture(scope="class", params=PARTS, ids=str)
    @classmethod
    def folder(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Plain, with towers that choose where they look, and with parts between neck and head."""
        folder = tmp_path_factory.mktemp("fcos")
        save_network(folder, small_fcos(replace(SMALL_FCOS, **request.param)))
        write_card(folder, replace(CARD, sha256=weights_sha256(folder)))
        return folder
