"""A run that knows what it is, and goes on as what it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from jobs.train_detector import main
from pipeline.training.data.scenes import save_scene
from pipeline.training.loop import best_of
from tests.support.fitted import SHIPS, Said, export, fit, folder_of
from tests.support.prepared import scene_with


class TestRuns:
    def test_a_run_keeps_what_it_was_made_of(self, tmp_path: Path, small: Path) -> None:
        prep = folder_of(tmp_path / "prep", ("car",), ("a", "b"), gsd_m=6.0)
        assert fit(small, tmp_path / "run", prep, hold_out="b", seed=7) == 0
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert (record["arguments"]["seed"], record["arguments"]["steps"]) == (7, 1)
        assert record["data"][0]["scenes"] == ["a"]
        assert record["data"][0]["objects"] == 3
        assert len(record["data"][0]["sha256"]) == 64
        assert record["versions"]["git_commit"]
        assert (record["mean"], record["std"], record["gsd_m"]) == ([0.25] * 3, [0.25] * 3, 6.0)
        assert len(record["init"]["sha256"]) == 64

    def test_going_on_says_what_is_other_than_before_and_a_finished_run_says_so(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        prep, run = folder_of(tmp_path / "prep", ("car",)), tmp_path / "run"
        assert fit(small, run, prep, steps=2) == 0
        capsys.readouterr()
        assert fit(small, run, prep, steps=2) == 0
        said = capsys.readouterr().out
        assert "is finished: it stands at step 2" in said
        assert "step 2/2" not in said
        save_scene(prep / "z.npz", scene_with(SHIPS[:1]))
        assert fit(small, run, prep, steps=3, learning_rate=0.001) == 0
        said = capsys.readouterr().out
        assert "going on from step 2" in said
        assert "--steps 2 → 3; --learning-rate 0.0006 → 0.001" in said
        assert f"the scenes of {prep} (1 → 2, other bytes)" in said
        assert "not that of a run of one go" in said
        record = json.loads((run / "run.json").read_text())
        assert (record["from_step"], record["arguments"]["steps"]) == (2, 3)
        assert (record["earlier"][0]["from_step"], record["earlier"][0]["arguments"]["steps"]) == (0, 2)
        assert fit(small, run, prep, steps=1, learning_rate=0.001) == 0
        assert "--steps 1 asks for fewer" in capsys.readouterr().out

    def test_a_setting_of_the_network_that_was_not_said_before_is_a_change(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        """The record of a run holds those fields of the network that a recipe says, and no others."""
        prep, run, recipe = folder_of(tmp_path / "prep", ("car",)), tmp_path / "run", tmp_path / "recipe.yaml"
        assert fit(small, run, prep) == 0
        recipe.write_text("network: {queries: 10}\n")
        capsys.readouterr()
        assert fit(small, run, prep, steps=2, recipe=recipe) == 0
        assert "network.queries nothing → 10" in capsys.readouterr().out
        recipe.write_text("network: {queries: 12}\n")
        assert fit(small, run, prep, steps=3, recipe=recipe) == 0
        assert "network.queries 10 → 12" in capsys.readouterr().out
        record = json.loads((run / "run.json").read_text())
        assert record["recipe"]["sha256"] == hashlib.sha256((run / "recipe.yaml").read_bytes()).hexdigest()

    def test_what_an_earlier_go_learnt_from_is_not_held_out(self, tmp_path: Path, small: Path) -> None:
        prep, run = folder_of(tmp_path / "prep", ("ship",), ("a", "b")), tmp_path / "run"
        assert fit(small, run, prep) == 0
        assert fit(small, run, prep, hold_out="b", steps=2) == 0
        validate = ["validate", "--run", str(run), "--scenes", str(prep), "--only", "b", "--tile", "64", "--halo", "16"]
        assert main(validate) == 0
        assert json.loads((run / "validations.json").read_text())[-1]["trained_on"] == ["b"]
        record = json.loads((run / "run.json").read_text())
        del record["earlier"][0]["scenes"]  # as an older version wrote it: which they were nobody knows
        (run / "run.json").write_text(json.dumps(record))
        assert main(validate) == 0
        assert json.loads((run / "validations.json").read_text())[-1]["trained_on"] is None

    def test_weights_that_other_scenes_chose_are_no_longer_the_best(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        prep, run = folder_of(tmp_path / "prep", ("ship",), ("a", "b", "c")), tmp_path / "run"
        assert fit(small, run, prep, hold_out="b", validate_steps=1) == 0
        capsys.readouterr()
        assert fit(small, run, prep, hold_out="c", validate_steps=1, steps=2) == 0
        assert "the best weights so far were chosen by other scenes" in capsys.readouterr().out
        assert best_of(run)[0] == 2
        assert (run / "best-1" / "state.safetensors").exists()

    def test_a_training_that_begins_anew_takes_over_no_best_weights(self, tmp_path: Path, small: Path) -> None:
        """What was killed before its first checkpoint left them, by another recipe perhaps."""
        prep, run = folder_of(tmp_path / "prep", ("ship",), ("a", "b")), tmp_path / "run"
        assert fit(small, run, prep, hold_out="b", validate_steps=1) == 0
        shutil.rmtree(run / "checkpoint")
        left = (run / "best" / "state.safetensors").read_bytes()
        judged = ("--run", run, "--scenes", prep, "--only", "b", "--tile", "64", "--halo", "16", "--best")
        assert main(["validate", *map(str, judged)]) == 0, "the best weights stand for themselves"
        assert export(run, tmp_path / "weights", "--best") == 0
        assert fit(small, run, prep, hold_out="b", validate_steps=1, seed=7) == 0
        assert (run / "best" / "state.safetensors").read_bytes() != left
        assert (run / "best-1" / "state.safetensors").read_bytes() == left

    def test_another_task_does_not_go_on_in_the_same_folder(self, tmp_path: Path, small: Path, capsys: Said) -> None:
        run = tmp_path / "run"
        assert fit(small, run, folder_of(tmp_path / "a", ("car", "van"), gsd_m=6.0)) == 0
        for number, (classes, gsd_m) in enumerate(((("van", "car"), 6.0), (("car",), 6.0), (("car", "van"), 3.0))):
            other = folder_of(tmp_path / str(number), classes, gsd_m=gsd_m)
            assert fit(small, run, other, steps=2) == 2
            assert f"{run} learns with the " in capsys.readouterr().err
        (run / "run.json").unlink()  # as an older version left it
        assert fit(small, run, tmp_path / "1", steps=2) == 4
        assert "is of another network" in capsys.readouterr().err
