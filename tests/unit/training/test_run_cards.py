"""A card that says what the run says, and nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from jobs.train_detector import main
from pipeline.detectors import load_detector, read_model_card
from pipeline.detectors.oriented_rtdetr.folder import save_network
from pipeline.training.loop import best_of
from pipeline.training.recipe import recipe_of
from tests.conftest import ROOT
from tests.support.fitted import Said, export, fit, folder_of
from tests.support.oriented import small_network

SHIPS_S2 = ROOT / "pipeline" / "detectors" / "weights" / "ships-s2" / "card.json"


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Path:
    """A run of one step on cars and vans at 6 m."""
    root = tmp_path_factory.mktemp("two")
    assert fit(small, root / "run", folder_of(root / "prep", ("car", "van"), gsd_m=6.0)) == 0
    return root / "run"


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
