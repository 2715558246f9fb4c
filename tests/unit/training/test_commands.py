"""The commands of a training: classes by name, a run that knows what it is, and a card that says nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml

from jobs.train_detector import main
from pipeline.annotations.annotations import Annotations
from pipeline.detectors import load_detector, read_model_card
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.detectors.oriented_rtdetr.network import OrientedRTDetr
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import load_scenes, save_scene
from pipeline.training.loop import best_of
from pipeline.training.recipe import recipe_of
from tests.conftest import ROOT
from tests.support.oriented import SMALL, small_network
from tests.support.prepared import scene_with
from tests.support.scenes import picture, write_geotiff

SHIPS = np.array([[60.0, 60, 40, 12, 0.5], [150, 100, 30, 10, -1.0], [90, 180, 50, 14, 0.0]])
SHIPS_S2 = ROOT / "pipeline" / "detectors" / "weights" / "ships-s2" / "card.json"
Said = pytest.CaptureFixture[str]


def folder_of(path: Path, classes: tuple[str, ...] | None, names: Sequence[str] = ("a",), **made: Any) -> Path:
    """A folder of prepared scenes whose three objects have the classes 0, 1, 2 as far as there are so many."""
    if classes is not None:
        start_folder(path, Prepared(classes=classes, **made))
    for name in names:
        truth = Annotations(SHIPS, np.arange(3) % len(classes or "abc"), np.zeros(3, np.bool_))
        save_scene(path / f"{name}.npz", replace(scene_with(SHIPS), name=name, truth=truth))
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    save_network(folder, OrientedRTDetr(SMALL))
    return folder


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Path:
    """A run of one step on cars and vans at 6 m."""
    root = tmp_path_factory.mktemp("two")
    assert fit(small, root / "run", folder_of(root / "prep", ("car", "van"), gsd_m=6.0)) == 0
    return root / "run"


def fit(small: Path, run: Path, *folders: Path, steps: int = 1, **flags: object) -> int:
    shared = {"tiles": 1, "sizes": 64, "threads": 1, "init": small, "out": run, "steps": steps, **flags}
    given = [text for key, value in shared.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    return main(["fit", "--scenes", *map(str, folders), *given])


def export(run: Path, out: Path, *more: object) -> int:
    return main(["export", "--run", str(run), "--out", str(out), *map(str, more)])


class TestClasses:
    def test_three_classes_are_learnt_without_being_counted_and_the_card_names_them(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        prep = folder_of(tmp_path / "prep", ("car", "van", "bus"))
        assert fit(small, tmp_path / "run", prep) == 0
        assert export(tmp_path / "run", tmp_path / "weights", "--onnx") == 0
        card = load_detector(tmp_path / "weights").card
        assert card.classes == ("car", "van", "bus")
        assert card.network is not None
        assert card.network[0] == "resnet backbone"
        assert "decoder layers" in card.network[-1]
        assert "train_ap50" in card.metrics["on_the_way"], "how well it knows its own scenes is always measured"
        facts = {one.key: one.value for one in onnx.load(tmp_path / "weights" / "model.onnx").metadata_props}
        assert json.loads(facts["kestrel"]) == json.loads((tmp_path / "weights" / "card.json").read_text())
        assert facts["model_type"] == "kestrel_oriented_rtdetr"
        assert "license" not in facts, "the card of this run has none"
        capsys.readouterr()
        assert export(tmp_path / "run", tmp_path / "weights") == 0
        assert "model.onnx holds weights of before" in capsys.readouterr().out

    def test_scenes_without_names_and_too_few_classes_are_one_sentence(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        """An older version's folder: class numbers up to 2, and the one class of --init, or the two of --classes."""
        prep = folder_of(tmp_path / "prep", None)
        assert fit(small, tmp_path / "run", prep) == 2
        assert "hold class number 2, but 1 class is learnt" in capsys.readouterr().err
        assert fit(small, tmp_path / "run", prep, classes=2) == 2
        assert "give --classes 3" in capsys.readouterr().err
        assert fit(small, tmp_path / "run", prep, classes=3) == 0
        assert export(tmp_path / "run", tmp_path / "weights") == 2
        assert 'give --card FILE with its "classes"' in capsys.readouterr().err

    def test_a_count_that_contradicts_the_names_is_refused(self, tmp_path: Path, small: Path, capsys: Said) -> None:
        assert fit(small, tmp_path / "run", folder_of(tmp_path / "prep", ("car", "van")), classes=3) == 2
        assert "--classes 3, but the prepared scenes have 2 (car, van)" in capsys.readouterr().err

    @pytest.mark.parametrize(("classes", "gsd_m"), [(("van", "car"), 6.0), (("car",), 6.0), (("car", "van"), 10.0)])
    def test_folders_that_do_not_agree_are_refused(
        self, classes: tuple[str, ...], gsd_m: float, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        first = folder_of(tmp_path / "a", ("car", "van"), gsd_m=6.0)
        other = folder_of(tmp_path / "b", classes, gsd_m=gsd_m)
        assert fit(small, tmp_path / "run", first, other) == 2
        assert "cannot be trained on together" in capsys.readouterr().err

    def test_prepare_stores_them_and_will_not_mix_them(self, tmp_path: Path, capsys: Said) -> None:
        from PIL import Image

        Image.fromarray(scene_with(SHIPS).pixels).save(tmp_path / "a.png")
        document = {
            "categories": [{"id": 2, "name": "van"}, {"id": 1, "name": "car"}],
            "images": [{"id": 1, "file_name": "a.png"}],
            "annotations": [{"image_id": 1, "category_id": 2, "bbox": [5, 5, 9, 9], "segmentation": []}],
        }
        (tmp_path / "a.json").write_text(json.dumps(document))
        prepare = ["prepare", "--annotations", str(tmp_path / "a.json"), "--images", str(tmp_path), "--out"]
        assert main([*prepare, str(tmp_path / "prep")]) == 0
        assert json.loads((tmp_path / "prep" / "prepared.json").read_text())["classes"] == ["car", "van"]
        assert main([*prepare, str(tmp_path / "prep")]) == 0, "the same again is no conflict"
        assert main([*prepare, str(tmp_path / "prep"), "--classes", "van"]) == 2
        assert "prepared otherwise (classes car, van, " in capsys.readouterr().err

    @pytest.mark.parametrize("crs", ["EPSG:32633", "none"])
    def test_prepare_is_told_the_crs_that_images_lack(self, crs: str, tmp_path: Path, capsys: Said) -> None:
        """As detection is, whose sentence names the flag; without it nothing is guessed."""
        write_geotiff(tmp_path / "a.tif", picture(120, 90), crs=None)
        document = {
            "categories": [{"id": 1, "name": "car"}],
            "images": [{"id": 1, "file_name": "a.tif"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": [60, 30, 20, 10], "segmentation": []}],
        }
        (tmp_path / "a.json").write_text(json.dumps(document))
        prepare = ["prepare", "--annotations", str(tmp_path / "a.json"), "--images", str(tmp_path), "--out"]
        prepare += [str(tmp_path / "prep"), "--gsd", "20"]
        assert main(prepare) == 3
        assert "--raster.crs" in capsys.readouterr().err
        assert main([*prepare, "--raster.crs", crs]) == 0
        (scene,) = load_scenes(tmp_path / "prep")
        size = (60, 45) if crs == "EPSG:32633" else (120, 90)
        assert scene.pixels.shape[:2] == pytest.approx(size, abs=1), "10 m pixels became 20 m where their size is known"

    def test_a_name_to_hold_out_that_is_nowhere_is_refused(self, tmp_path: Path, small: Path, capsys: Said) -> None:
        prep = folder_of(tmp_path / "prep", ("car",), ("a", "b"))
        assert fit(small, tmp_path / "run", prep, hold_out="b,athens") == 2
        assert "no folder of --scenes holds: athens" in capsys.readouterr().err

    def test_boxes_that_are_left_out_are_counted(self, tmp_path: Path, capsys: Said) -> None:
        """As 'evaluate' counts them: whoever prepares wonders where they are."""
        write_geotiff(tmp_path / "a.tif", picture(64, 64))
        image = {"id": 1, "file_name": "a.tif", "width": 64, "height": 64}
        boxes = ([10, 10, 20, 9], [10, 10, 0, 9], [300, 10, 20, 9])
        rows = [{"id": n, "image_id": 1, "category_id": 1, "bbox": box} for n, box in enumerate(boxes)]
        (tmp_path / "a.json").write_text(
            json.dumps({"images": [image], "categories": [{"id": 1, "name": "ship"}], "annotations": rows})
        )
        given = ("--annotations", tmp_path / "a.json", "--images", tmp_path, "--out", tmp_path / "prep")
        assert main(["prepare", *map(str, given)]) == 0
        said = capsys.readouterr().out
        assert "64 px, 1 objects" in said
        assert "have no area" in said
        assert "lie outside their image" in said

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            ({"device": "gpu"}, "device is cpu or cuda (cuda:1), not 'gpu'"),
            ({"device": "cuda:x"}, "device is cpu or cuda (cuda:1), not 'cuda:x'"),
            pytest.param(
                {"device": "cuda"}, "sees no GPU here; use --device cpu",
                marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
            ),
        ],
    )  # fmt: skip
    def test_a_device_that_is_not_there_is_refused(
        self, flags: dict[str, str], said: str, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        assert fit(small, tmp_path / "run", folder_of(tmp_path / "prep", ("ship",)), **flags) == 2
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize(
        "given",
        [
            ["fit", "--out", "o", "--threads", "0"],
            ["validate", "--run", "r", "--scenes", "s", "--threads", "-1"],
            ["validate", "--run", "r", "--scenes", "s", "--score-threshold", "7"],
            ["export", "--run", "r", "--out", "o", "--score-threshold", "nan"],
            ["mine", "--weights", "w", "--scenes", "s", "--out", "o", "--lowest-score", "2"],
            ["ablate", "--plan", "p", "--data", "d", "--out", "o", "--threads", "0"],
        ],
    )
    def test_a_number_out_of_its_range_is_refused_by_its_flag(self, given: list[str], capsys: Said) -> None:
        with pytest.raises(SystemExit) as ended:
            main(given)
        assert ended.value.code == 2
        assert f"argument {given[-2]}: " in capsys.readouterr().err

    def test_what_can_choose_nothing_is_said(self, tmp_path: Path, small: Path, capsys: Said) -> None:
        prep, empty = folder_of(tmp_path / "prep", ("ship",)), folder_of(tmp_path / "empty", ("ship",), ())
        save_scene(empty / "e.npz", scene_with(np.zeros((0, 5))))
        assert fit(small, tmp_path / "run", prep, choose=empty) == 0
        assert "--choose chooses nothing without --validate-steps" in capsys.readouterr().out
        assert fit(small, tmp_path / "other", prep, choose=empty, validate_steps=1) == 0
        assert "no scene held out or given by --choose has an object" in capsys.readouterr().out

    @pytest.mark.parametrize("share", ["-1", "nan", "0", "inf"])
    def test_a_share_that_is_none_is_refused(self, share: str, tmp_path: Path, small: Path, capsys: Said) -> None:
        prep = folder_of(tmp_path / "prep", ("ship",))
        assert fit(small, tmp_path / "run", Path(f"{prep}:{share}")) == 2
        assert f"the share after the colon must be a number above 0, not {share}" in capsys.readouterr().err

    def test_scenes_to_choose_by_that_are_trained_on_by_another_folder_are_refused(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        prep, same = (folder_of(tmp_path / name, ("ship",), ("a", "b")) for name in ("prep", "same"))
        assert fit(small, tmp_path / "run", prep, choose=same, hold_out="b", validate_steps=1) == 2
        assert f"the scene a of --choose {same} is trained on" in capsys.readouterr().err

    def test_a_class_without_an_object_is_named(self, tmp_path: Path, small: Path, capsys: Said) -> None:
        """The folder names four classes; its three objects are of the first three."""
        prep = tmp_path / "prep"
        start_folder(prep, Prepared(classes=("car", "van", "bus", "tram")))
        save_scene(
            prep / "a.npz", replace(scene_with(SHIPS), truth=Annotations(SHIPS, np.arange(3), np.zeros(3, np.bool_)))
        )
        assert fit(small, tmp_path / "run", prep) == 2
        assert f"no scene of {prep} that is trained on has an object of the class tram" in capsys.readouterr().err


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


class TestCards:
    def test_a_card_of_another_detector_lends_the_run_no_name_and_no_figures(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        """The page's own line: an untrained network must not leave as ships-s2 with its AP50."""
        prep = folder_of(tmp_path / "prep", ("ship",), gsd_m=6.0)
        assert fit(small, tmp_path / "ships", prep) == 0
        assert export(tmp_path / "ships", tmp_path / "weights", "--card", SHIPS_S2) == 0
        said = capsys.readouterr().out
        card, given = read_model_card(tmp_path / "weights"), json.loads(SHIPS_S2.read_text())
        assert card.name == "ships"
        assert set(card.metrics) == {"on_the_way"}
        assert "0.332" not in (tmp_path / "weights" / "card.json").read_text()
        assert card.score_threshold == 0.3
        assert card.training_data is not None
        assert "sen2ships" not in card.training_data
        assert "(1 scenes, 3 objects, share 1, sha256 " in card.training_data
        assert (card.licence, card.longest_object_m, card.input_px) == (given["licence"], 450.0, 512)
        for key in ("name", "score_threshold", "training_data", "metrics"):
            assert f"{key} of {SHIPS_S2} is not taken over" in said

    def test_figures_are_those_that_validate_found_of_these_weights(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        prep, run = folder_of(tmp_path / "prep", ("ship",), ("a", "b")), tmp_path / "run"
        assert fit(small, run, prep, hold_out="b") == 0
        validate = ["validate", "--run", str(run), "--scenes", str(prep), "--tile", "128", "--halo", "32"]
        capsys.readouterr()
        assert main([*validate, "--only", "b"]) == 0
        figures = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # JSON has no NaN
        assert export(run, tmp_path / "weights", "--name", "boats") == 0
        card = read_model_card(tmp_path / "weights")
        assert card.name == "boats"
        assert card.input_px == 128
        assert card.metrics["prep"]["ap50"] == pytest.approx(figures["ap50"], abs=1e-4)
        assert "1 scenes (b), 0 of them trained on" in card.metrics["prep"]["data"]
        chosen = json.loads((run / "validations.json").read_text())[0]["score_threshold"]
        assert card.score_threshold == (0.3 if chosen is None else chosen)
        assert main(validate) == 0
        assert export(run, tmp_path / "weights") == 0
        assert "2 scenes (a, b), 1 of them trained on" in json.dumps(read_model_card(tmp_path / "weights").metrics)
        assert fit(small, run, prep, hold_out="b", steps=2) == 0
        capsys.readouterr()
        assert export(run, tmp_path / "later") == 0
        assert set(read_model_card(tmp_path / "later").metrics) == {"on_the_way"}
        assert "was of other weights" in capsys.readouterr().out

    def test_the_best_weights_can_be_judged_and_exported_and_the_card_says_the_recipe(
        self, tmp_path: Path, small: Path, capsys: Said
    ) -> None:
        """Judged after both steps on one scene held out and one of a folder to choose by."""
        prep, run = folder_of(tmp_path / "prep", ("ship",), ("a", "b")), tmp_path / "run"
        choose = folder_of(tmp_path / "choose", ("ship",), ("c",))
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text("name: mine\nschedule: {validate_px: 128, warmup_steps: 0}\n")
        assert fit(small, run, prep, recipe=recipe, hold_out="b", choose=choose, validate_steps=1, steps=2) == 0
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        judged = [row for row in rows if "train_ap" in row]
        assert [row["step"] for row in judged] == [1, 2]
        assert (run / "curves.png").stat().st_size > 1000
        step, value = best_of(run)
        assert value == max(row["held_out_ap"] for row in judged)
        assert main(["validate", "--run", str(run), "--scenes", str(choose), "--best", "--tile", "128"]) == 0
        validation = json.loads((run / "validations.json").read_text())[0]
        assert (validation["step"], validation["chosen_by"]) == (step, ["c"])
        assert export(run, tmp_path / "weights", "--best") == 0
        card = read_model_card(tmp_path / "weights")
        assert "0 of them trained on, 1 of them chose these weights" in card.metrics["choose"]["data"]
        assert card.metrics["choose"]["step"] == card.metrics["on_the_way"]["step"] == step
        assert card.metrics["on_the_way"].keys() >= {"held_out_ap50", "train_ap50"}
        copied = (run / "recipe.yaml").read_bytes()
        assert f"by the recipe mine, sha256 {hashlib.sha256(copied).hexdigest()[:12]}" in str(card.training_data)
        assert recipe_of(yaml.safe_load(copied)).data.hold_out == ("b",)

    def test_without_best_weights_what_keeps_them_is_said(
        self, two_classes: Path, tmp_path: Path, capsys: Said
    ) -> None:
        assert export(two_classes, tmp_path / "weights", "--best") == 4
        assert "--validate-steps N" in capsys.readouterr().err

    def test_scenes_that_are_trained_on_choose_nothing(self, tmp_path: Path, small: Path, capsys: Said) -> None:
        prep = folder_of(tmp_path / "prep", ("ship",))
        assert fit(small, tmp_path / "run", prep, choose=prep, validate_steps=1) == 2
        assert "is trained on: it says nothing" in capsys.readouterr().err

    def test_what_scores_are_worth_is_measured_by_validate_and_goes_into_the_card_of_held_out_scenes_alone(
        self, tmp_path: Path, capsys: Said
    ) -> None:
        """Figures of scenes that were trained on may stand there; a calibration from them would be a promise broken."""
        talkative = small_network()
        for name, weights in talkative.named_parameters():
            if name.endswith("bias") and weights.shape == (1,) and weights.item() < -4:
                torch.nn.init.constant_(weights, -1.0)  # of classes: an untrained network says nothing by itself
        save_network(tmp_path / "init", talkative)
        prep, run = folder_of(tmp_path / "prep", ("ship",), tuple("abcdefgh")), tmp_path / "run"
        assert fit(tmp_path / "init", run, prep, hold_out="b,c,d,e,f,g,h") == 0
        validate = ["validate", "--run", str(run), "--scenes", str(prep), "--tile", "64", "--halo", "16"]
        assert main([*validate, "--only", "a,b,c,d,e,f,g"]) == 0
        assert export(run, tmp_path / "weights") == 0
        assert read_model_card(tmp_path / "weights").calibration is None
        capsys.readouterr()
        assert main([*validate, "--only", "b,c,d,e,f,g,h"]) == 0
        measured = json.loads(capsys.readouterr().out)["calibration"]
        assert measured["boxes"] >= 50, "an untrained network that says nothing proves nothing"
        assert export(run, tmp_path / "weights") == 0
        assert "what --init was trained on is not known here" in capsys.readouterr().out
        card = read_model_card(tmp_path / "weights")
        assert card.calibration is not None
        assert card.calibration.scenes == tuple("bcdefgh")
        assert card.calibration.precision == pytest.approx(tuple(measured["precision"]))
        assert card.calibration.ece_after is not None
        assert load_detector(tmp_path / "weights").card == card

    def test_a_threshold_chosen_on_other_scenes_is_said_not_inherited(self, tmp_path: Path, two_classes: Path) -> None:
        """What training on all scenes needs; and no path of this machine stands in the card."""
        assert export(two_classes, tmp_path / "weights", "--score-threshold", 0.42) == 0
        assert read_model_card(tmp_path / "weights").score_threshold == 0.42
        assert str(two_classes.parent) not in (tmp_path / "weights" / "card.json").read_text()

    @pytest.mark.parametrize(
        ("card", "said"),
        [
            ({"classes": ["ship"]}, "names 1 class (ship), but the run learnt 2: car, van"),
            ({"classes": ["a", "b", "c"]}, "names 3 classes (a, b, c), but the run learnt 2"),
            ({"mean": [0.5] * 3}, "mean is 0.5, 0.5, 0.5, but the run was trained with 0.25, 0.25, 0.25"),
            ({"std": [0.2] * 3}, "std is 0.2"),
            ({"gsd_m": 10.0}, "gsd_m is 10.0, but the run was trained with 6.0"),
            ({"bands": ["nir"], "mean": [0.25], "std": [0.25]}, "bands is nir"),
            ({"licence": 5}, "licence must be a text"),
        ],
    )
    def test_a_card_that_contradicts_the_run_is_refused(
        self, card: dict[str, Any], said: str, tmp_path: Path, two_classes: Path, capsys: Said
    ) -> None:
        (tmp_path / "card.json").write_text(json.dumps(card))
        assert export(two_classes, tmp_path / "weights", "--card", tmp_path / "card.json") in (2, 4)
        assert said in capsys.readouterr().err
        assert not (tmp_path / "weights").exists()

    def test_what_the_run_says_itself_need_not_be_given(self, tmp_path: Path, two_classes: Path) -> None:
        (tmp_path / "card.json").write_text(json.dumps({"classes": ["car", "van"], "licence": "CC0-1.0"}))
        assert export(two_classes, tmp_path / "weights", "--card", tmp_path / "card.json") == 0
        card = read_model_card(tmp_path / "weights")
        assert (card.classes, card.gsd_m, card.licence, card.oriented) == (("car", "van"), 6.0, "CC0-1.0", True)
        assert card.longest_object_m == 300.0
