"""The executor over a real local Ray cluster keeps the promises of every executor."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from pipeline.config import ClusterConfig
from pipeline.engine.executor import Executor
from pipeline.engine.worker import LoadDetector
from pipeline.runs.context import SILENT
from tests.contracts.executor import ExecutorContract, Start
from tests.support.clusters import join_cluster

pytestmark = pytest.mark.ray


class TestRayExecutor(ExecutorContract):
    """Two actors, blocks in whatever order they end."""

    @pytest.fixture(scope="class")
    @classmethod
    def start(cls, ray_ends: None) -> Start:
        from pipeline.cluster.executor import RayExecutor

        def started(load: LoadDetector) -> AbstractContextManager[Executor]:
            join_cluster()
            return RayExecutor(load, ClusterConfig(workers=2, device="cpu", start_s=240.0), SILENT)

        return started
