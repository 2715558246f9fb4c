"""A small network that trainings begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from tests.support.oriented import SMALL


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    save_network(folder, OrientedRTDetr(SMALL))
    return folder
