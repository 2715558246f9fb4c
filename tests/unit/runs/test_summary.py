"""What a run of several scenes says at its end, to people and to programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ClusterConfig, OutputConfig, RunConfig, TilingConfig
from pipeline.engine.local import LocalExecutor
from pipeline.raster.addresses import scene_id_of
from pipeline.reporting.journal import Journal
from pipeline.runs.report import SceneReport
from pipeline.runs.run import detect
from pipeline.runs.summary import table
from tests.support.harbours import HarbourCase, small_harbour


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> HarbourCase:
    return small_harbour(tmp_path_factory.mktemp("harbour") / "harbour.tif")


def config_of(harbour: HarbourCase, out: Path, *others: str) -> RunConfig:
    tiling = TilingConfig(tile_px=224, halo_px=48, gsd="native")
    return RunConfig(scene=(str(harbour.path), *others), out=str(out), tiling=tiling, output=OutputConfig(preview_px=0))


def summaries(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (out / "_runs").glob("*.json")]


def test_a_run_of_several_scenes_ends_with_a_table_and_a_file(harbour: HarbourCase, tmp_path: Path) -> None:
    """The file has what a program asks: states, counts, seconds, exit code, and no secret."""
    secret = "http://user:secret@127.0.0.1:9/gone.tif?X-Amz-Signature=secret"
    lines: list[str] = []
    report = detect(
        config_of(harbour, tmp_path, secret), harbour.card, LocalExecutor(harbour.load_oracle), Journal(lines.append)
    )
    (content,) = summaries(tmp_path)
    first, second = report.scenes
    assert content["exit_code"] == report.exit_code == second.exit_code > 0
    assert content["counts"] == {"PUBLISHED": 1, "INVALID": 1}
    assert [one["scene_id"] for one in content["scenes"]] == ["harbour", "gone"]
    assert content["scenes"][0]["run_id"] == first.run_id
    assert content["detections"] == first.detections > 0
    assert content["tiles_done"] == first.tiles_done > 0
    assert content["seconds"] > 0
    costs = content["costs"]
    assert costs["tiles_done"] == first.tiles_done
    assert costs["stage_seconds"]["detect"]["sum"] > 0 < costs["driver_cpu_s"]
    assert costs["bytes_read"] > 0
    assert second.seconds > 0
    assert "secret" not in json.dumps(content)
    table = next(line for line in lines if line.startswith("scene "))
    heads, *rows = [line.split() for line in table.splitlines()]
    assert heads == ["scene", "status", "detections", "tiles", "seconds"]
    assert rows[0][:4] == ["harbour", "PUBLISHED", str(first.detections), str(first.tiles_done)]
    assert rows[1][:4] == ["gone", "INVALID", "0", "0"]
    assert len({len(line) for line in table.splitlines()}) == 1, "columns stand under one another"


def test_the_table_of_many_scenes_has_the_first_and_those_that_failed() -> None:
    def report(number: int) -> SceneReport:
        status = "INVALID" if number % 100 == 50 else "PUBLISHED"
        return SceneReport(uri=f"{number}.tif", scene_id=f"s{number}", status=status, exit_code=0, message="")

    lines = table([report(number) for number in range(5000)]).splitlines()
    assert len(lines) == 1 + 20 + 20 + 1
    assert [line.split()[0] for line in lines[1:21]] == [f"s{number}" for number in range(20)]
    assert [line.split()[:2] for line in lines[21:23]] == [["s50", "INVALID"], ["s150", "INVALID"]]
    assert lines[-1] == "and 4960 more, in the file of the run; of all 5000: 50 INVALID, 4950 PUBLISHED"
    assert len(table([report(number) for number in range(40)]).splitlines()) == 41


def test_a_run_that_is_cut_short_says_how_far_it_came(harbour: HarbourCase, tmp_path: Path) -> None:
    def stopped() -> Any:
        raise KeyboardInterrupt

    config = replace(config_of(harbour, tmp_path, "b.tif"), cluster=ClusterConfig(scenes=1))
    with pytest.raises(KeyboardInterrupt):
        detect(config, harbour.card, LocalExecutor(stopped), Journal(lambda _: None))
    (content,) = summaries(tmp_path)
    assert (content["ended"], content["exit_code"], content["counts"]) == ("interrupted", None, {"NOT_REACHED": 2})


def test_a_run_of_one_scene_has_its_run_json_alone(harbour: HarbourCase, tmp_path: Path) -> None:
    detect(config_of(harbour, tmp_path), harbour.card, LocalExecutor(harbour.load_oracle), Journal(lambda _: None))
    assert not (tmp_path / "_runs").exists()


def test_a_summary_that_cannot_be_written_changes_no_result(harbour: HarbourCase, tmp_path: Path) -> None:
    (tmp_path / "_runs").write_text("in the way")
    lines: list[str] = []
    config = replace(config_of(harbour, tmp_path, str(tmp_path / "gone.tif")))
    report = detect(config, harbour.card, LocalExecutor(harbour.load_oracle), Journal(lines.append))
    assert [scene.status for scene in report.scenes] == ["PUBLISHED", "INVALID"]
    assert any("summary of the run could not be written" in line for line in lines)


@pytest.mark.parametrize("name", ["_runs.tif", "runs.tif", "__runs__.tif", "._runs.tif"])
def test_no_scene_has_the_name_of_the_folder_of_runs(name: str) -> None:
    assert scene_id_of((name,)) == "runs"
