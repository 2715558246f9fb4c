"""A scene that is published already is not opened again; whatever changed, a file above all, is never overlooked."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import MergeConfig, OutputConfig, RasterConfig, RunConfig, TilingConfig, WorkConfig
from pipeline.engine.local import LocalExecutor
from pipeline.runs.context import SILENT, Run
from pipeline.runs.glance import Glance, glance, glances
from pipeline.runs.run import detect
from tests.support.pinned import CARD, pinned_oracle, write_pinned_scene


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, files beside it, and its result."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "in").mkdir()
    write_pinned_scene(folder / "in" / "a.tif")
    for name in ("a_RPC.TXT", "notes.txt", "RPC_other.XML", "a.prj"):
        (folder / "in" / name).write_text("nothing")
    report = detect(config_of(folder), CARD, LocalExecutor(pinned_oracle), SILENT)
    assert report.exit_code == 0, report
    return folder


@pytest.fixture
def place(published: Path, tmp_path: Path) -> Iterator[Path]:
    """The same, put back afterwards with all its times."""
    kept = tmp_path / "kept"
    shutil.copytree(published, kept)
    yield published
    shutil.rmtree(published)
    shutil.copytree(kept, published)


def config_of(folder: Path) -> RunConfig:
    return RunConfig(
        scene=(str(folder / "in" / "a.tif"),), out=str(folder / "out"), output=OutputConfig(preview_px=0),
        tiling=TilingConfig(tile_px=192, halo_px=40),
    )  # fmt: skip


def seen(config: RunConfig) -> Glance:
    run = Run(config=config, card=CARD, executor=LocalExecutor(pinned_oracle), aoi=None, journal=SILENT)
    return glance(config.scene[0], run)


def test_what_is_published_is_told_without_opening_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the scene was opened")

    monkeypatch.setattr("pipeline.runs.scene.plan_scene", opened)
    report = detect(config_of(place), CARD, LocalExecutor(pinned_oracle), SILENT)
    assert report.exit_code == 0
    assert "nothing to do: the same run has published 34 detections" in report.scenes[0].message


def _rewritten(folder: Path) -> None:
    path = folder / "in" / "a.tif"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _written(name: str, text: str = "something else") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _aged(folder: Path) -> None:
    for part in (folder / "out" / "a" / "_work").iterdir():
        os.utime(part, (time.time() - 31 * 86_400,) * 2)


def _edited(folder: Path) -> None:
    path = folder / "out" / "a" / "run.json"
    record = json.loads(path.read_text())
    del record["files"]
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "change",
    [
        _rewritten, _written("in/a.tif.aux.xml"), _written("in/a.tfw"), _written("in/A.TIF.MSK"),
        _written("in/a_RPC.TXT"), _removed("in/a.prj"), _written("in/RPC_other.XML"), _written("in/x_MTL.txt"),
        _removed("out/a/manifest.json"),
        _removed("out/a/detections.gpkg"), _written("out/a/run.json", "{"), _edited, _aged,
    ],
)  # fmt: skip
def test_what_changed_in_or_beside_a_scene_or_its_result_is_left_to_the_long_way(
    place: Path, change: Callable[[Path], None]
) -> None:
    assert seen(config_of(place)).report is not None
    change(place)
    assert seen(config_of(place)).report is None


def test_other_scenes_come_and_go_beside_it(place: Path) -> None:
    for name in ("b.tif", "b.tif.aux.xml", "a2.tif", "a2.tfw"):
        (place / "in" / name).write_text("another")
    assert seen(config_of(place)).report is not None


@pytest.mark.parametrize(
    "other",
    [
        lambda c: replace(c, raster=RasterConfig(stretch="minmax")),
        lambda c: replace(c, raster=RasterConfig(max_bands=2)),
        lambda c: replace(c, raster=RasterConfig(allow_vrt=True)),
        lambda c: replace(c, merge=MergeConfig(iou_threshold=0.5)),
        lambda c: replace(c, output=OutputConfig(preview_px=0, meta=("a=b",))),
        lambda c: replace(c, work=WorkConfig(keep="never")),
        lambda c: replace(c, scene_id="other"),
        lambda c: replace(c, force=True),
        lambda c: replace(c, clean=True),
    ],
)
def test_other_settings_are_left_to_the_long_way(place: Path, other: Callable[[RunConfig], RunConfig]) -> None:
    assert seen(other(config_of(place))).report is None
    assert seen(replace(config_of(place), executor="local", log="json")).report is not None


def test_the_file_of_classes_is_one_of_a_scenes_files(place: Path) -> None:
    (place / "in" / "classes.tif").write_text("SCL")
    raster = RasterConfig(mask_file=str(place / "in" / "classes.tif"), mask_values=(3, 8))
    config = replace(config_of(place), raster=raster)
    before = seen(config).inputs
    assert before is not None
    assert seen(config).inputs == before
    _written("in/classes.tif.aux.xml")(place)
    beside = seen(config).inputs
    _written("in/classes.tif", "another SCL")(place)
    assert len({before, beside, seen(config).inputs, seen(config_of(place)).inputs}) == 4


def test_a_scene_that_is_replaced_while_it_is_read_is_not_taken_for_done(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when the new file stays nor when the old one is put back as it was, times and all."""
    config = replace(config_of(place), force=True)

    class Replacing(LocalExecutor):
        def map(self, *args: object, **options: object):  # type: ignore[no-untyped-def]
            _rewritten(place)
            yield from super().map(*args, **options)  # type: ignore[arg-type]

    assert detect(config, CARD, Replacing(pinned_oracle), SILENT).exit_code == 0
    assert seen(config_of(place)).report is None
    write_pinned_scene(place / "in" / "a.tif")
    assert seen(config_of(place)).report is None


def test_glances_keep_their_order_and_old_ones_are_thrown_away(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(place)
    run = Run(config=config, card=CARD, executor=LocalExecutor(pinned_oracle), aoi=None, journal=SILENT)
    uris = [config.scene[0], *(f"{place}/missing{number}.tif" for number in range(200))]
    told = dict(glances(uris, run))
    assert "glance" not in [thread.name for thread in threading.enumerate()], (
        "they hold the run, and the network with it"
    )
    assert list(told) == uris
    assert [uri for uri, one in told.items() if one is not None and one.report is not None] == uris[:1]
    monkeypatch.setattr("pipeline.runs.glance.FRESH_S", -1.0)
    assert set(dict(glances(uris[:3], run)).values()) == {None}
