"""Classes by name, and what the commands of a training refuse in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from jobs.train_detector import main
from pipeline.annotations.annotations import Annotations
from pipeline.detectors import load_detector
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import load_scenes, save_scene
from tests.support.fitted import SHIPS, Said, export, fit, folder_of
from tests.support.prepared import scene_with
from tests.support.scenes import picture, write_geotiff


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
