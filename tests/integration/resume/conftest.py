"""A small harbour, and the jobs on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import RefineConfig, RunConfig, TilingConfig
from tests.support.harbours import HarbourCase, small_harbour
from tests.support.jobs import Job


@pytest.fixture(scope="session")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


@pytest.fixture(params=["one look", "two looks"])
def job(request: pytest.FixtureRequest, harbour: HarbourCase, tmp_path: Path) -> Job:
    tiling = TilingConfig(tile_px=224, halo_px=48, block_mpx=0.1)
    refine = RefineConfig()
    if request.param == "two looks":
        tiling, refine = replace(tiling, global_factor=2.0), RefineConfig(budget=0.5)
    return Job(RunConfig(scene=(str(harbour.path),), out=str(tmp_path / "out"), tiling=tiling, refine=refine))
