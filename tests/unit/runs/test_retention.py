"""Kept work shrinks when its scene is published: never kept, for days, or cleaned, also where nothing is to do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.config import MergeConfig, OutputConfig, RunConfig, TilingConfig, WorkConfig
from pipeline.engine.local import LocalExecutor
from pipeline.reporting.journal import Journal
from pipeline.runs.report import SceneReport
from pipeline.runs.run import detect
from tests.support.pinned import CARD, pinned_oracle, write_pinned_scene

DAY_S = 86_400


class Place:
    """One scene, detected again and again with what is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        write_pinned_scene(folder / "a.tif")

    def run(
        self,
        keep: str | float = 30.0,
        *,
        clean: bool = False,
        force: bool = False,
        tile_px: int = 192,
        iou: float = 0.3,
    ) -> SceneReport:
        config = RunConfig(
            scene=(str(self.folder / "a.tif"),), out=str(self.folder / "out"), clean=clean,
            output=OutputConfig(preview_px=0), tiling=TilingConfig(tile_px=tile_px, halo_px=40, block_mpx=0.08),
            merge=MergeConfig(iou_threshold=iou), work=WorkConfig(keep=keep),  # type: ignore[arg-type]
        )  # fmt: skip
        (report,) = detect(config, CARD, LocalExecutor(pinned_oracle), Journal(self.said.append)).scenes
        assert report.exit_code == 0, report
        return report

    def parts(self) -> set[str]:
        work = self.folder / "out" / "a" / "_work"
        return {path.name for path in work.iterdir()} if work.is_dir() else set()

    def age(self, days: float) -> None:
        for path in (self.folder / "out" / "a" / "_work").iterdir():
            os.utime(path, (time.time() - days * DAY_S,) * 2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_never_leaves_no_part_once_the_scene_is_published(place: Place) -> None:
    place.run("never")
    assert place.parts() == set()
    assert "nothing to do" in place.run("never").message


def test_never_also_empties_what_an_earlier_run_has_kept(place: Place) -> None:
    place.run("always")
    assert place.parts()
    assert "nothing to do" in place.run("never").message
    assert place.parts() == set()


def test_parts_of_other_settings_go_after_their_days_and_those_in_use_stay(place: Place) -> None:
    place.run(tile_px=128)
    other = place.parts()
    place.age(8)
    place.run(7.0)
    mine = place.parts()
    assert not mine & other
    assert any("older than 7 days" in line for line in place.said)
    place.age(8)
    place.run(7.0, iou=0.5)
    assert place.parts() == mine, "this run needed them"


def test_where_nothing_is_to_do_old_parts_go_too(place: Place) -> None:
    place.run()
    place.age(31)
    assert "nothing to do" in place.run("always").message
    assert place.parts()
    assert "nothing to do" in place.run().message
    assert place.parts() == set()


def test_fresh_parts_stay_by_default(place: Place) -> None:
    place.run(tile_px=128)
    other = place.parts()
    place.run()
    assert place.parts() > other


def test_clean_works_on_a_scene_with_nothing_to_do(place: Place) -> None:
    place.run(tile_px=128)
    other = place.parts()
    place.run()
    both = place.parts()
    assert "nothing to do" in place.run(clean=True).message
    assert place.parts() == both - other
    assert any(f"{len(other)} parts of other settings removed" in line for line in place.said)
