"""Folders in the layouts of real sources → scenes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipeline.command_line import run_from
from pipeline.config import RasterConfig, RunConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.ingest.claims import content_version
from pipeline.ingest.feed_file import FeedConfig, Source
from pipeline.ingest.feeds import scenes
from pipeline.ingest.scene_config import scene_config
from pipeline.ingest.scene_to_do import SceneToDo, Unusable
from pipeline.raster import open_scene
from pipeline.raster.scene_files import RASTERS
from pipeline.types import Window
from tests.support import layouts
from tests.support.layouts import write_band, write_safe
from tests.support.reading import native, read


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    layouts.write_tree(root)
    return root


def feed(address: Path | str, **source: object) -> FeedConfig:
    return FeedConfig(name="f", source=Source(kind="folder", address=str(address), **source))  # type: ignore[arg-type]


def found(one: FeedConfig) -> dict[str, SceneToDo]:
    entries = list(scenes(one))
    assert all(isinstance(entry, SceneToDo) for entry in entries), entries
    return {entry.key.removeprefix("f/files/"): entry for entry in entries if isinstance(entry, SceneToDo)}


def test_every_layout_is_recognised_in_one_tree(tree: Path) -> None:
    """Coarser bands, masks, previews and side-cars beside the scenes are none; every scene opens with its settings."""
    every = found(feed(tree))
    assert sorted(every) == sorted([
        layouts.SAFE, layouts.SAFE_L1C, layouts.NAIP, f"31/031133102003/2023-02-08/{layouts.MAXAR}", layouts.UMBRA,
        "P0001", "plain/harbour",
    ])  # fmt: skip
    base = RunConfig(out="out")
    for scene in every.values():
        config = scene_config(feed(tree), base, scene)
        opened = open_scene(config.scene[0], config.raster)
        assert (opened.width, len(opened.bands), opened.has_mask) == (layouts.PX, 3, False)


def test_bands_of_a_product_are_joined_red_green_blue(tree: Path) -> None:
    scene = found(feed(tree, layout="sentinel-2-safe"))[layouts.SAFE]
    assert [uri.rsplit("_", 2)[1] for uri in scene.uri.split(",")] == ["B04", "B03", "B02"]
    assert all("/R10m/" in uri for uri in scene.uri.split(","))
    infrared = found(feed(tree, layout="sentinel-2-safe", bands=("B08", "B04", "B03")))[layouts.SAFE]
    assert [uri.rsplit("_", 2)[1] for uri in infrared.uri.split(",")] == ["B08", "B04", "B03"]


def test_what_names_say_is_told(tree: Path) -> None:
    every = found(feed(tree))
    product, naip, sar = every[layouts.SAFE], every[layouts.NAIP], every[layouts.UMBRA]
    assert product.acquired == datetime(2023, 7, 1, 10, 56, 29, tzinfo=UTC)
    assert (product.sensor, product.gsd_m, product.offset_dn) == ("S2A", 10.0, 1000.0)
    assert every[layouts.SAFE_L1C].offset_dn == 0.0
    assert (naip.gsd_m, naip.settings["raster.bands"]) == (0.6, (1, 2, 3))
    assert "licence=public domain" in naip.settings["output.meta"]
    assert (sar.sensor, sar.acquired) == ("UMBRA-05", datetime(2023, 7, 23, 18, 2, 43, tzinfo=UTC))
    assert every["P0001"].gsd_m == pytest.approx(0.1463, abs=1e-4)


def test_clouds_are_holes_where_the_feed_says_which_classes_they_are(tree: Path) -> None:
    """Of a product with a classification; one without (L1C) is read as it is."""
    one = replace(feed(tree), run={"raster.mask_values": [3, 8, 9, 10]})
    every, base = found(one), run_from({**one.run, "out": "o"})
    masked, plain = (scene_config(one, base, every[name]).raster for name in (layouts.SAFE, layouts.SAFE_L1C))
    assert str(masked.mask_file).endswith("_SCL_20m.jp2")
    assert plain.mask_file is None
    assert open_scene(every[layouts.SAFE].uri, masked).has_mask
    unmasked = found(feed(tree))[layouts.SAFE]
    assert "raster.mask_file" not in unmasked.settings
    assert any(entry.startswith("validity=") for entry in unmasked.settings["output.meta"])


def test_a_product_processed_again_supersedes(tmp_path: Path) -> None:
    write_safe(tmp_path)
    write_safe(tmp_path, layouts.SAFE_BEFORE)
    newer, older = (found(feed(tmp_path))[name] for name in (layouts.SAFE, layouts.SAFE_BEFORE))
    assert newer.supersedes == older.supersedes is not None
    assert newer.rank > older.rank
    assert newer.scene_id != older.scene_id


def test_the_offset_moves_a_fixed_stretch(tree: Path) -> None:
    """What a feed says of pixel values is meant without the archive's offset."""
    one, every = feed(tree), found(feed(tree))
    base = RunConfig(out="o", raster=RasterConfig(stretch="fixed", stretch_range=(0.0, 3000.0)))
    assert scene_config(one, base, every[layouts.SAFE]).raster.stretch_range == (1000.0, 4000.0)
    assert scene_config(one, base, every[layouts.SAFE_L1C]).raster.stretch_range == (0.0, 3000.0)


def test_percentiles_do_not_see_the_offset(tmp_path: Path) -> None:
    """Both ends of the stretch move with the values, so the detector is shown the same bytes with and without it."""
    pixels = np.random.default_rng(0).gamma(2.0, 400.0, (3, 64, 64)).astype(np.uint16) + 1
    seen = []
    for name, offset in (("without.tif", 0), ("with.tif", 1000)):
        where = Affine(10, 0, 600_000, 0, -10, 5_600_000)
        with rasterio.open(tmp_path / name, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint16", nodata=0,
                           crs="EPSG:32631", transform=where) as file:  # fmt: skip
            file.write(pixels + offset)
        scene = open_scene(str(tmp_path / name), RasterConfig())
        seen.append(read(scene, native(scene), Window(x=0, y=0, width=64, height=64))[0][0])
    assert seen[0].std() > 10
    np.testing.assert_array_equal(*seen)


def test_a_scene_that_is_arriving_is_said_to_be(tmp_path: Path) -> None:
    write_safe(tmp_path, bands=("B02", "B04"))
    (entry,) = scenes(feed(tmp_path))
    assert isinstance(entry, Unusable)
    assert "lacks B03" in entry.reason
    assert "arriving" in entry.reason


def test_a_pattern_groups_files_and_dates_them(tmp_path: Path) -> None:
    for band in ("R", "G", "B"):
        write_band(tmp_path / "20240203" / f"quay_{band}.tif")
        write_band(tmp_path / "20241303" / f"quay_{band}.tif")
    write_band(tmp_path / "20240204" / "quay_R.tif")
    good, *bad = scenes(feed(tmp_path, pattern=r"(?P<scene>(?P<date>\d{8})/\w+)_(?P<band>[RGB])\.tif$"))
    assert isinstance(good, SceneToDo)
    assert good.acquired == datetime(2024, 2, 3, tzinfo=UTC)
    assert [uri[-5] for uri in good.uri.split(",")] == ["R", "G", "B"]
    reasons = sorted(entry.reason for entry in bad if isinstance(entry, Unusable))
    assert len(reasons) == 2
    assert "lacks G, B" in reasons[0]
    assert "is no date" in reasons[1]


def test_two_files_of_one_name_are_one_sentence(tmp_path: Path) -> None:
    write_band(tmp_path / "quay.tif")
    write_band(tmp_path / "quay.jp2")
    (entry,) = scenes(feed(tmp_path))
    assert isinstance(entry, Unusable)
    assert "named twice" in entry.reason


def test_the_hint_changes_when_a_file_does(tmp_path: Path) -> None:
    write_band(tmp_path / "quay.tif", seed=1)
    before = found(feed(tmp_path))["quay"]
    assert found(feed(tmp_path))["quay"].hint == before.hint
    write_band(tmp_path / "quay.tif", seed=2)
    after = found(feed(tmp_path))["quay"]
    assert after.hint != before.hint
    assert after.scene_id == before.scene_id


def test_a_layout_that_no_file_has_ends_the_feed(tree: Path) -> None:
    """A wrong one must not look like a feed without scenes."""
    with pytest.raises(ConfigError, match=r"none of the \d+ files .* by the layout naip"):
        list(scenes(feed(tree / "plain", layout="naip")))
    with pytest.raises(ConfigError, match=r"by source\.pattern"):
        list(scenes(feed(tree / "plain", pattern=r"(?P<scene>\d+)\.jpg$")))


def test_a_folder_that_is_not_there_ends_the_feed(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no folder"):
        list(scenes(feed(tmp_path / "none")))


@pytest.mark.parametrize("more", [{}, {"pattern": r"(?P<scene>\w+)\.tif$"}], ids=["auto", "pattern"])
def test_rasters_of_our_own_results_are_no_scenes(tmp_path: Path, more: dict[str, str]) -> None:
    """Where the results lie in the feed, each tick would detect what the last one published, without end."""
    for name in ("harbour.tif", "out/harbour-12ab/attention.tif", "out/harbour-12ab/difference.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"II*\0")
    assert list(found(feed(tmp_path, **more))) == ["harbour"]


@pytest.mark.parametrize("ending", RASTERS)
def test_what_detect_takes_for_a_raster_a_feed_does_too(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"scene{ending.upper()}").write_bytes(b"x")
    (tmp_path / "list.txt").write_text(f"scene{ending.upper()}\n")
    assert list(found(feed(tmp_path))) == ["scene"]
    (named,) = scenes(FeedConfig(name="f", source=Source(kind="list", address=str(tmp_path / "list.txt"))))
    assert isinstance(named, SceneToDo), named


def test_a_file_of_classes_that_comes_late_or_changes_is_another_version_where_it_is_applied(tmp_path: Path) -> None:
    """A product arrives file by file: what was looked at without its clouds is looked at again."""
    write_safe(tmp_path)
    (classes,) = tmp_path.rglob("*_SCL_20m.jp2")
    content = classes.read_bytes()
    told: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for state in (b"", content, content + b"again"):
        classes.unlink(missing_ok=True)
        if state:
            classes.write_bytes(state)
        for applied, seen in told.items():
            one = replace(feed(tmp_path), run={"raster.mask_values": [3]} if applied else {})
            (scene,) = found(one).values()
            seen.add((scene.hint, content_version(scene)))
    assert [len({one[part] for one in told[True]}) for part in (0, 1)] == [3, 3]
    assert len(told[False]) == 1
