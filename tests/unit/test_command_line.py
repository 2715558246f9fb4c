"""Command line and config file: what people type becomes one RunConfig, or one clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.command_line import COMMON, known_keys, parse_run
from pipeline.config import ClusterConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.runs.identity import config_hash

FROZEN_KEYS = [
    "scene",
    "out",
    "scene_id",
    "weights",
    "aoi",
    "executor",
    "dry_run",
    "start_from",
    "force",
    "clean",
    "log",
    "raster.bands",
    "raster.page",
    "raster.stretch",
    "raster.stretch_low_percent",
    "raster.stretch_high_percent",
    "raster.stretch_range",
    "raster.nodata",
    "raster.mask",
    "raster.mask_file",
    "raster.mask_values",
    "raster.crs",
    "raster.rpc_height_m",
    "raster.allow_vrt",
    "raster.allow_vsi",
    "raster.requester_pays",
    "raster.max_gigapixels",
    "raster.max_bands",
    "raster.max_block_mb",
    "raster.gdal_cache_mb",
    "tiling.gsd",
    "tiling.tile_px",
    "tiling.halo_px",
    "tiling.halo_m",
    "tiling.global_factor",
    "tiling.block_mpx",
    "tiling.skip_empty",
    "detector.score_threshold",
    "detector.precision",
    "detector.batch",
    "detector.dtype",
    "detector.runtime",
    "detector.flips",
    "refine.selector",
    "refine.budget",
    "refine.scales",
    "refine.zoom",
    "refine.gate",
    "refine.candidate_score",
    "refine.match_iou",
    "refine.score_rule",
    "refine.seed",
    "merge.iou_threshold",
    "merge.class_groups",
    "output.max_failed_tiles",
    "output.preview_px",
    "output.meta",
    "export.attention",
    "export.difference",
    "work.keep_score",
    "work.keep",
    "work.lease_s",
    "cluster.workers",
    "cluster.device",
    "cluster.threads",
    "cluster.address",
    "cluster.in_flight",
    "cluster.scenes",
    "cluster.start_s",
    "cluster.wait_s",
    "cluster.max_attempts",
    "cluster.deadline_s",
    "cluster.stuck_s",
]


def run(*argv: str) -> RunConfig:
    parsed = parse_run(argv, "kestrel detect")
    assert isinstance(parsed, RunConfig)
    return parsed


def test_keys_are_frozen() -> None:
    """A key that is renamed or dropped breaks people's config files: change this list and the CHANGELOG together."""
    assert list(known_keys()) == FROZEN_KEYS


def test_several_scenes_after_one_flag() -> None:
    parsed = run("--scene", "a.tif", "s3://b/c.tif", "--out", "o")
    assert parsed.scene == ("a.tif", "s3://b/c.tif")


@pytest.mark.parametrize(
    "argv",
    [
        ("a.tif", "b/", "--out", "o"),
        ("--out", "o", "a.tif", "--dry-run", "b/"),
        ("--dry-run", "true", "--scene", "a.tif", "b/", "--out", "o"),
        ("a.tif", "--out=o", "--scene", "b/"),
        ("--out", "o", "--scene", '["a.tif", "b/"]'),
        ("--scene", "a.tif", "--scene=b/", "--out", "o"),
    ],
)
def test_scenes_may_stand_without_a_flag(argv: tuple[str, ...]) -> None:
    parsed = run(*argv)
    assert (parsed.scene, parsed.out) == (("a.tif", "b/"), "o")


def test_scenes_on_the_command_line_win_over_those_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("scene: ['@list.txt', 'b/*.tif']\nout: o\n")
    assert run("--config", str(file)).scene == ("@list.txt", "b/*.tif")
    assert run("a.tif", "--config", str(file)).scene == ("a.tif",)


def test_a_name_may_begin_with_a_bracket() -> None:
    assert run("--scene", "[1].tif", "--out", "o").scene == ("[1].tif",)


def test_band_files_of_one_scene_stay_together() -> None:
    assert run("--scene", "B04.jp2,B03.jp2,B02.jp2", "--out", "o").scene == ("B04.jp2,B03.jp2,B02.jp2",)


@pytest.mark.parametrize("template", ["{stem}", "{parent}_{stem}", "7", "null"])
def test_a_template_of_scene_ids_arrives_as_it_was_written(template: str) -> None:
    assert run("--scene", "a.tif", "--scene-id", template).scene_id == template


@pytest.mark.parametrize(("text", "kept"), [("never", "never"), ("always", "always"), ("7", 7.0), ("0.5", 0.5)])
def test_work_is_kept_never_or_for_days(text: str, kept: str | float) -> None:
    assert run("--scene", "a", "--out", "o", "--work.keep", text).work.keep == kept
    for nonsense in ("-1", "week"):
        with pytest.raises(ConfigError, match="keep"):
            run("--scene", "a", "--out", "o", "--work.keep", nonsense)


def test_a_box_in_the_west_is_no_flag() -> None:
    assert run("--scene", "a", "--aoi", "-10.5,35,-5,45", "--out", "o").aoi == "-10.5,35,-5,45"
    assert run("--scene", "a", "--aoi", "7,35,8,45", "--out", "o").aoi == "7,35,8,45"


def test_nested_keys_and_lists_without_brackets() -> None:
    parsed = run("--scene", "a", "--raster.bands", "4", "3", "2", "--tiling.gsd=2.5", "--meta", "a=b", "c=d")
    assert parsed.raster.bands == (4, 3, 2)
    assert parsed.tiling.gsd == "2.5"
    assert parsed.output.meta == ("a=b", "c=d")
    assert run("--scene", "a", "--meta", "a=b", "--output.meta=c=d", "--meta", "e=[f]").output.meta == (
        "a=b", "c=d", "e=[f]"
    )  # fmt: skip


@pytest.mark.parametrize("form", ["flag", "file", "equals"])
def test_a_number_format_given_as_precision_is_still_the_number_format_and_that_is_said_once(
    form: str, tmp_path: Path
) -> None:
    """As scripts of earlier versions have it."""
    file = tmp_path / "run.yaml"
    file.write_text("detector: {precision: bfloat16}\n")
    given = {"flag": ["--detector.precision", "bfloat16"], "equals": ["--detector.precision=bfloat16"],
             "file": ["--config", str(file)]}  # fmt: skip
    said: list[str] = []
    old = parse_run(["--scene", "a", "--out", "o", *given[form]], "kestrel detect", said.append)
    assert old == run("--scene", "a", "--out", "o", "--detector.dtype", "bfloat16")
    assert len(said) == 1
    assert said[0].startswith("detector.precision=bfloat16 is taken as detector.dtype=bfloat16")


def test_a_precision_is_a_number_and_nothing_is_said_of_it() -> None:
    said: list[str] = []
    parsed = parse_run(["--scene", "a", "--out", "o", "--detector.precision", "0.8"], "kestrel detect", said.append)
    assert isinstance(parsed, RunConfig)
    assert (parsed.detector.precision, parsed.detector.dtype, said) == (0.8, "float32", [])


@pytest.mark.parametrize("spelling", ["--dry-run", "--dry_run", "--dry_run=true"])
def test_dry_run_is_a_flag(spelling: str) -> None:
    assert run("--scene", "a", spelling, "--out", "o").dry_run


def test_command_line_wins_over_config_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("out: from-file\ntiling: {tile_px: 256, halo_px: 32}\n")
    parsed = run("--config", str(file), "--scene", "a", "--tiling.halo_px", "48")
    assert (parsed.out, parsed.tiling.tile_px, parsed.tiling.halo_px) == ("from-file", 256, 48)


def test_printed_config_is_read_back_as_the_same_run(tmp_path: Path) -> None:
    argv = ["--scene", "a.tif", "--out", "o", "--tiling.halo_m", "300", "--merge.class_groups", "[[car, truck]]"]
    text = parse_run([*argv, "--print_config"], "kestrel detect")
    assert isinstance(text, str)
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert run("--config", str(file)) == run(*argv)
    assert yaml.safe_load(text)["tiling"]["halo_m"] == 300


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--tiling.tile", "512"], "did you mean tiling.tile_px"),
        (["--halo_px", "5"], "did you mean tiling.halo_px"),
        (["--raster.bnds", "1"], "did you mean raster.bands"),
        (["--classes", "ship"], "unknown --classes; --help all lists every key"),
        (["--verbose"], "unknown --verbose; --help all lists every key"),
        (["--sceen", "a.tif"], "did you mean scene?"),
        (["--otu", "out"], "did you mean out?"),
        (["--halo", "5"], "did you mean tiling.halo_px or tiling.halo_m?"),
        (["--detector.iou_threshold", "5"], "did you mean merge.iou_threshold?"),
        (["--batch-size", "5"], "did you mean detector.batch?"),
        (["--tiling.tile_px", "5"], "at least 32"),
        (["--detector.precision", "0.8", "--detector.score_threshold", "0.5"], "not both"),
        (["--detector.precision", "80"], "at most 1"),
        (["--detector.precision", "0"], "above 0"),
        (["--detector.precision", "nan"], "detector.precision"),
        (["--detector.precision", "float64"], "detector.precision"),
        (["--detector.precision", "bfloat16", "--detector.dtype", "float16"], "leave it out"),
        (["--tiling.tile_px", "many"], "tiling.tile_px"),
        (["--raster.stretch", "log"], "percentile"),
        (["--raster.stretch", "fixed"], "stretch_range"),
        (["--tiling.halo_px", "5", "--tiling.halo_m", "5"], "not both"),
        (["--tiling.gsd", "fine"], "metres"),
        (["--cluster.workers", "0"], "at least 1"),
        (["--output.meta", "novalue"], "key=value"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["-x"], "-x"),
    ],
)
def test_bad_input_is_one_sentence(argv: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_run(argv, "kestrel detect")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_key_in_a_file_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("tiling: {halo: 5}\n")
    with pytest.raises(ConfigError, match=r"tiling\.halo' in .*did you mean tiling\.halo_"):
        run("--config", str(file))


@pytest.mark.parametrize("content", ["a: [1", "- just\n- a list\n"])
def test_unusable_config_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        run("--config", str(file))


def test_first_help_is_one_screen_and_all_help_has_every_key() -> None:
    short = parse_run(["--help"], "kestrel detect")
    everything = parse_run(["--help", "all"], "kestrel detect")
    assert isinstance(short, str)
    assert isinstance(everything, str)
    assert len(short.splitlines()) <= 50
    assert all(max(map(len, short.splitlines())) <= 120 for _ in [0])
    assert all(
        key.replace("dry_run", "dry-run").replace("output.meta", "meta").replace("start_from", "from") in short
        for key in COMMON
    )
    assert all(f"--{key}" in everything for key in known_keys())


def test_only_settings_that_change_bytes_enter_the_hash() -> None:
    """Where and by whom the work is done must not change a run's identity; the thread count may change last digits."""
    base = RunConfig(scene=("a",), out="b")
    assert config_hash(base) == config_hash(RunConfig(scene=("c",), out="d", executor="local", log="json"))
    assert config_hash(base) == config_hash(RunConfig(cluster=ClusterConfig(workers=7, scenes=7)))
    assert config_hash(base) != config_hash(RunConfig(cluster=ClusterConfig(threads=2)))
    assert config_hash(base) != config_hash(run("--scene", "a", "--out", "b", "--merge.iou_threshold", "0.5"))
