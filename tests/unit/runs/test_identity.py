"""Whoever adds a field decides whether it makes another scene, another result, other parts."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from pipeline.config import (
    ClusterConfig,
    DetectorConfig,
    MergeConfig,
    OutputConfig,
    RasterConfig,
    RefineConfig,
    RunConfig,
    TilingConfig,
)
from pipeline.planning.plan import WorkOrder
from pipeline.runs.identity import (
    ADMISSION,
    FACTS,
    LAYOUT,
    PIXELS,
    PLACE,
    READING,
    SETTINGS,
    TOLD,
    VALIDITY,
    config_hash,
    fingerprint,
    model_version,
    recipe_sha256,
    request_sha256,
    result_settings,
)
from pipeline.types import Calibration, Lattice, Scene, Stretch
from tests.support.pinned import CARD

SECTIONS = {
    "raster": RasterConfig, "tiling": TilingConfig, "detector": DetectorConfig, "refine": RefineConfig,
    "merge": MergeConfig, "output": OutputConfig,
}  # fmt: skip
NO_RESULT = {
    "scene", "scene_id", "out", "weights", "executor", "dry_run", "start_from", "force", "clean", "log", "export",
    "work", "cluster",
}  # fmt: skip
"""Fields of a run that change no byte of its detections by themselves; weights and exports are asked for apart."""

SCENE = Scene(
    scene_id="a", uris=("a.tif",), width=10, height=20, bands=(1, 2, 3), band_count=3, dtype="uint16", driver="GTiff",
    crs_wkt=None, transform=None,
)  # fmt: skip
STRETCH = Stretch(kind="percentile", low=(0.0,), high=(1.0,), source="all pixels")
ORDER = WorkOrder(
    scene=SCENE, lattice=Lattice(width=10, height=20, scale_x=1.0, scale_y=1.0, gsd_m=None), stretch=STRETCH,
    raster=RasterConfig(), score_threshold=0.1, batch=4,
)  # fmt: skip

CALIBRATION = Calibration(
    method="isotonic", scores=(0.2, 0.8), precision=(0.1, 0.9), boxes=60, iou=0.5, scenes=("a", "b"), ece_before=0.2,
    ece_after=0.1,
)  # fmt: skip


def names(kind: type) -> list[str]:
    return [one.name for one in fields(kind)]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_of_a_section_is_in_the_hash_or_named_as_left_out(section: str) -> None:
    left_out = ADMISSION if section == "raster" else ()
    assert sorted((*SETTINGS[section], *left_out)) == sorted(names(SECTIONS[section]))


def test_every_section_of_a_run_is_in_the_hash_or_named_as_left_out() -> None:
    assert {*SETTINGS, "aoi", *NO_RESULT} == set(names(RunConfig))


def test_every_field_of_a_scene_stands_in_one_group() -> None:
    assert sorted(("scene_id", "uris", *PIXELS, *PLACE, *VALIDITY, *LAYOUT, *FACTS, *TOLD)) == sorted(names(Scene))


def test_every_field_of_a_work_order_is_in_the_names_of_parts() -> None:
    """``scene``, ``lattice``, ``stretch``, ``raster`` and ``refine`` by their own fields; export changes nothing."""
    by_hand = {"scene", "lattice", "stretch", "raster", "refine", "score_threshold", "batch", "global_factor", "flips"}
    assert by_hand | {"export_attention", "export_difference"} == set(names(WorkOrder))
    assert (names(Lattice), names(Stretch)) == (
        ["width", "height", "scale_x", "scale_y", "gsd_m"], ["kind", "low", "high", "source"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({"order": replace(ORDER, batch=2)}, True),
        ({"order": replace(ORDER, stretch=replace(STRETCH, high=(2.0,)))}, True),
        ({"order": replace(ORDER, raster=RasterConfig(nodata=0))}, True),
        ({"order": replace(ORDER, raster=RasterConfig(gdal_cache_mb=999, allow_vrt=True, max_bands=7))}, False),
        ({"order": replace(ORDER, export_attention=True)}, False),
        ({"order": replace(ORDER, flips=True)}, True),
        ({"card": replace(CARD, calibration=CALIBRATION)}, False),
        ({"order": replace(ORDER, export_difference=True)}, False),
        ({"order": replace(ORDER, scene=replace(SCENE, scene_id="b", uris=("b.tif",), sensor="MSI"))}, False),
        ({"version": "2"}, True),
        ({"card": replace(CARD, sha256="f" * 64)}, True),
        ({"card": replace(CARD, runtime="onnxruntime 1.31.1 CPUExecutionProvider")}, True),
        ({"card": replace(CARD, settings_sha256="f" * 64)}, True),
        ({"card": replace(CARD, described="best.onnx is read as a YOLO")}, False),
        ({"config": RunConfig(cluster=ClusterConfig(device="cpu"))}, False),
        ({"config": RunConfig(detector=DetectorConfig(dtype="bfloat16"))}, True),
        ({"config": RunConfig(merge=MergeConfig(iou_threshold=0.7))}, False),
    ],
)
def test_parts_have_other_names_where_a_detector_would_find_other_things(
    changes: dict[str, Any], another: bool
) -> None:
    base: dict[str, Any] = {"order": ORDER, "version": "1", "card": CARD, "config": RunConfig()}
    assert (recipe_sha256(**base) != recipe_sha256(**(base | changes))) is another
    assert all(name in names(RasterConfig) for name in READING)


def test_the_device_counts_where_another_runtime_than_torch_looks() -> None:
    """Which device that is, is asked for; of torch's it never was in a name, and names of parts stay."""
    card = replace(CARD, runtime="onnxruntime 1.31.1 CUDAExecutionProvider")
    base: dict[str, Any] = {"order": ORDER, "version": "1", "card": card, "config": RunConfig()}
    on_cpu = RunConfig(cluster=ClusterConfig(device="cpu"))
    assert recipe_sha256(**base) != recipe_sha256(**(base | {"config": on_cpu}))
    assert request_sha256(SCENE, "1", RunConfig(), card, None) != request_sha256(SCENE, "1", on_cpu, card, None)
    assert request_sha256(SCENE, "1", RunConfig(), CARD, None) == request_sha256(SCENE, "1", on_cpu, CARD, None)


def test_a_scene_is_known_by_its_pixels_and_not_by_its_name() -> None:
    import numpy as np

    picture = np.zeros((4, 5, 3), np.uint8)
    one = fingerprint(SCENE, STRETCH, picture)
    assert fingerprint(replace(SCENE, scene_id="b", uris=("b",), overviews=(2,)), STRETCH, picture) == one
    assert fingerprint(replace(SCENE, nodata=0.0), STRETCH, picture) != one
    assert fingerprint(SCENE, STRETCH, picture + np.uint8(1)) != one


def test_settings_and_fields_that_came_later_change_no_older_digest_but_are_in_the_new_ones() -> None:
    old = config_hash(RunConfig())
    assert "crs" not in str(result_settings(RunConfig())["raster"])
    assert len({old, config_hash(RunConfig(raster=RasterConfig(crs="EPSG:32633"))),
                config_hash(RunConfig(raster=RasterConfig(rpc_height_m=0.0)))}) == 3  # fmt: skip


def test_the_number_format_is_hashed_by_the_name_it_had_and_recorded_by_the_one_it_has() -> None:
    """And what looks another way, or reports from another score on, is another result."""
    hashed = {
        config_hash(RunConfig(detector=DetectorConfig(**given)))
        for given in ({}, {"dtype": "bfloat16"}, {"flips": True}, {"precision": 0.8}, {"precision": 0.9})
    }  # fmt: skip
    assert len(hashed) == 5
    recorded = result_settings(RunConfig(detector=DetectorConfig(dtype="bfloat16", precision=0.8)))["detector"]
    assert (recorded["dtype"], recorded["precision"]) == ("bfloat16", 0.8)


def test_a_calibration_makes_another_result_of_the_same_parts() -> None:
    """So a run after it was added takes what was found before, and publishes it with the new column."""
    assert model_version(replace(CARD, calibration=CALIBRATION)) != model_version(CARD)


def test_where_the_work_is_done_is_in_no_hash() -> None:
    assert config_hash(RunConfig(out="here", scene=("a",), executor="local")) == config_hash(RunConfig())
    assert config_hash(RunConfig(detector=DetectorConfig(batch=1))) != config_hash(RunConfig())


def _request(preview_px: int | str, side_px: int) -> str:
    output = OutputConfig(preview_px=preview_px)  # type: ignore[arg-type]
    scene = replace(SCENE, width=side_px, height=side_px)
    return request_sha256(scene, "1", RunConfig(output=output), CARD, None)


def test_the_preview_of_old_is_what_auto_is_hashed_as_and_another_one_is_another_request() -> None:
    """Ids and results from before ``auto`` stay; who asks for another picture of a small scene gets it."""
    asked = replace(RunConfig(), output=OutputConfig(preview_px=1600))
    assert config_hash(RunConfig()) == config_hash(asked)
    assert _request("auto", 4000) == _request(1600, 4000)
    assert _request("auto", 500) != _request(1600, 500)
    assert len({_request(one, 500) for one in ("auto", 1600, 256, 0)}) == 4
