"""Fixtures that more than one test file needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.clusters import join_cluster

# The gate must say the same of the same tree: its examples are always the same ones. `make test-hunt` draws new ones.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("hunt", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("KESTREL_HYPOTHESIS", "gate"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def kestrel_data() -> Path:
    """The real annotated imagery; tests that need it skip where KESTREL_DATA does not say where it is."""
    folder = os.environ.get("KESTREL_DATA")
    if not folder:
        pytest.skip("KESTREL_DATA is not set: no real imagery here")
    return Path(folder)


@pytest.fixture(scope="session")
def ray_ends() -> Iterator[None]:
    """After the last test no cluster is left running."""
    yield
    import ray

    ray.shutdown()


@pytest.fixture
def ray_cluster(ray_ends: None) -> None:
    """A real local Ray cluster of four (logical) CPUs, for tests that need none of their own: such tests end ours."""
    join_cluster()
