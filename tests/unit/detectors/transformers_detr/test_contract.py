"""Checkpoints of the transformers library keep what every detector promises: those that resize, pad, have windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.detector import CheckpointContract
from tests.support.checkpoints import save_checkpoint


class LibraryContract(CheckpointContract):
    kind: str

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return save_checkpoint(cls.kind, tmp_path_factory.mktemp(cls.kind))


class TestRTDetrV2(LibraryContract):
    kind = "rt_detr_v2"


class TestDeformableDetr(LibraryContract):
    kind = "deformable_detr"


class TestDetr(LibraryContract):
    kind = "detr"


class TestRfDetr(LibraryContract):
    kind = "rf_detr"


class TestYolos(LibraryContract):
    kind = "yolos"
