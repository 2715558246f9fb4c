"""No run replaces what another scene, or a person, has put where its result would go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import OutputConfig, RunConfig
from pipeline.engine.local import LocalExecutor
from pipeline.errors import ConfigError
from pipeline.runs.context import SILENT
from pipeline.runs.report import SceneReport
from pipeline.runs.run import detect
from tests.support.pinned import CARD, pinned_oracle, write_pinned_scene


def run(folder: Path, *scenes: Path | str, **settings: Any) -> tuple[SceneReport, ...]:
    config = RunConfig(
        scene=tuple(map(str, scenes)), out=str(folder / "out"), output=OutputConfig(preview_px=0), **settings
    )
    return detect(config, CARD, LocalExecutor(pinned_oracle), SILENT).scenes


def scene(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pinned_scene(path)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_names_in_another_script_have_folders_of_their_own(tmp_path: Path) -> None:
    run(tmp_path, scene(tmp_path / "北京.tif"))
    run(tmp_path, scene(tmp_path / "上海.tif"))
    assert len([path for path in (tmp_path / "out").iterdir() if path.is_dir()]) == 2


@pytest.mark.parametrize("moved", [False, True], ids=["another scene", "the same scene at another path"])
def test_a_result_of_another_scene_is_not_replaced_without_force(moved: bool, tmp_path: Path) -> None:
    """Two files of one size and time too: equal versions are no proof that nothing is to do."""
    first = scene(tmp_path / "d1" / "TCI.tif")
    assert run(tmp_path, first)[0].exit_code == 0
    before = files(tmp_path / "out" / "TCI")
    second = tmp_path / "d2" / "TCI.tif"
    second.parent.mkdir()
    if moved:
        first.rename(second)
    else:
        scene(second)
    (refused,) = run(tmp_path, second)
    assert (refused.status, refused.exit_code) == ("INVALID", 2)
    for part in (str(first), str(second), "--scene-id", "--force", "moved"):
        assert part in refused.message
    assert files(tmp_path / "out" / "TCI") == before
    assert run(tmp_path, second, scene_id="{parent}_{stem}")[0].scene_id == "d2_TCI"
    assert run(tmp_path, second, force=True)[0].status == "PUBLISHED"
    assert json.loads((tmp_path / "out" / "TCI" / "run.json").read_text())["origin"] == [str(second)]


def test_a_relative_name_is_another_scene_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, exit_code in (("d1", 0), ("d2", 2), ("d1", 0)):
        scene(tmp_path / folder / "TCI.tif")
        monkeypatch.chdir(tmp_path / folder)
        assert run(tmp_path, "TCI.tif")[0].exit_code == exit_code


def test_the_same_scene_again_is_nothing_to_do_and_a_changed_one_is_done_again(tmp_path: Path) -> None:
    path = scene(tmp_path / "a.tif")
    run(tmp_path, path)
    assert "nothing to do" in run(tmp_path, path)[0].message
    assert "nothing to do" in run(tmp_path, f"file://{path}")[0].message
    path.touch()
    assert "nothing to do" not in run(tmp_path, path)[0].message


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_the_users_own_is_never_exchanged_for_a_result(force: bool, tmp_path: Path) -> None:
    """Beside ``a.tif`` stands ``a/``, and ``--out`` is the folder of both."""
    path = scene(tmp_path / "out" / "a.tif")
    mine = tmp_path / "out" / "a" / "holiday.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"the only copy")
    (refused,) = run(tmp_path, path, force=force)
    assert (refused.exit_code, mine.read_bytes()) == (2, b"the only copy")
    assert "holiday.jpg" in refused.message


@pytest.mark.parametrize("force", [False, True])
def test_a_scene_whose_file_stands_where_its_folder_would_be_is_left_alone(force: bool, tmp_path: Path) -> None:
    """``--scene out/harbour --out out``: a file without a suffix has the name of its own result."""
    path = scene(tmp_path / "out" / "harbour")
    before = path.read_bytes()
    (refused,) = run(tmp_path, path, force=force)
    assert refused.exit_code == 2
    assert "is a file" in refused.message
    assert path.read_bytes() == before


def test_what_a_run_left_that_broke_off_is_replaced(tmp_path: Path) -> None:
    path = scene(tmp_path / "a.tif")
    run(tmp_path, path)
    for name in ("run.json", "manifest.json"):
        (tmp_path / "out" / "a" / name).unlink()
    assert run(tmp_path, path)[0].exit_code == 0


def test_a_result_from_before_origins_were_kept_tells_its_scene_too(tmp_path: Path) -> None:
    run(tmp_path, scene(tmp_path / "d1" / "a.tif"))
    record = tmp_path / "out" / "a" / "run.json"
    content = json.loads(record.read_text())
    del content["origin"]
    record.write_text(json.dumps(content))
    assert run(tmp_path, scene(tmp_path / "d2" / "a.tif"))[0].exit_code == 2
    assert run(tmp_path, tmp_path / "d1" / "a.tif")[0].exit_code == 0


@pytest.mark.parametrize("template", ["{stem", "{name}", "{stem!r}", "{stem:>9}", "{0}", " "])
def test_a_template_that_is_none_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match="--scene-id"):
        RunConfig(scene=("a.tif",), scene_id=template)


def test_one_name_is_for_one_scene(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 scenes one name"):
        RunConfig(scene=("a.tif", "b.tif"), scene_id="port")
    assert run(tmp_path, scene(tmp_path / "a.tif"), scene_id="port")[0].scene_id == "port"
