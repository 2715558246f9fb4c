"""ONNX files keep what every detector promises: one of any size and turned, one of a fixed size and batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.detector import CheckpointContract
from tests.support.onnx_files import write_guest


class TestOfAnySize(CheckpointContract):
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_guest(tmp_path_factory.mktemp("any"), "yolo-obb", size=None)


class TestOfAFixedSizeAndBatch(CheckpointContract):
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_guest(tmp_path_factory.mktemp("fixed"), "detr", batch=2)
