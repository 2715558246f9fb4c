"""The drill's scene, its cluster, and its table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chaos.drill import FULL, SHORT, Drill, Row, table
from tests.conftest import ROOT

ROWS: dict[str, list[Row]] = {}


@pytest.fixture(
    scope="session", params=[SHORT, pytest.param(FULL, marks=pytest.mark.chaos)], ids=lambda size: size.name
)
def drill(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """The scene, small for CI and whole for ``make chaos``."""
    made = Drill(tmp_path_factory.mktemp(f"drill-{request.param.name}"), request.param)
    yield made
    ROWS[request.param.name] = made.rows


@dataclass
class Nodes:
    """A cluster of our own, which jobs join and survive."""

    cluster: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    @property
    def raylets(self) -> list[int]:
        nodes = [self.cluster.head_node, *self.cluster.worker_nodes]
        return [node.all_processes["raylet"][0].process.pid for node in nodes if node is not None]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """One node with two logical CPUs; drills may add others. Gone before other tests start Ray: they would join it."""
    from ray.cluster_utils import Cluster

    was = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 200_000_000})
    yield Nodes(cluster)
    cluster.shutdown()
    os.environ.pop("PYTHONPATH")
    if was is not None:
        os.environ["PYTHONPATH"] = was


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, after the tests."""
    for name, rows in ROWS.items():
        if rows:
            terminalreporter.write_line(f"\nThe {name} drill:\n\n{table(rows)}")
