"""The job, from weights and annotated images to tables, figures and submissions."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs import evaluate_detector
from jobs.evaluate_detector import as_typed
from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_rtdetr.folder import load_network, save_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.errors import ConfigError
from pipeline.evaluation.comparison.command import budgets_of_crops
from pipeline.evaluation.comparison.measuring import with_queries
from pipeline.evaluation.comparison.text import as_markdown
from pipeline.evaluation.dota_submission import read_submission
from pipeline.types import ModelCard
from tests.support.onnx_files import write_guest

SMALL = NetworkConfig(
    classes=2,
    stage_channels=(16, 16, 16, 16),
    stage_depths=(1, 1, 1, 1),
    width=32,
    heads=2,
    decoder_layers=2,
    queries=30,
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Our own network with random weights, as a checkpoint."""
    torch.manual_seed(0)
    folder = tmp_path / "weights"
    save_network(folder, OrientedRTDetr(SMALL).eval())
    card = ModelCard(
        name="small", classes=("person", "car"), gsd_m=None, bands=("red", "green", "blue"), input_px=64,
        sha256=weights_sha256(folder), oriented=True, score_threshold=0.02,
    )  # fmt: skip
    write_card(folder, card)
    return folder


class TestTheJob:
    def data(self, folder: Path) -> Path:
        (folder / "images").mkdir()
        rows = [{"id": 1, "image_id": i, "category_id": 1, "bbox": [30, 20, 12, 9], "segmentation": []} for i in (1, 2)]
        rows += [{"id": 2, "image_id": 1, "category_id": 7, "bbox": [80, 20, 12, 9], "segmentation": []}]
        names = ("person", "car", "bicycle", "dont_care")
        document = {
            "images": [{"id": i, "file_name": f"{i}.jpg", "width": 256, "height": 192} for i in (1, 2, 3)],
            "categories": [{"id": i, "name": name} for i, name in zip((1, 2, 3, 7), names, strict=True)],
            "annotations": rows,
        }
        for i in (1, 2, 3):
            noise = np.random.default_rng(i).integers(0, 255, (192, 256), np.uint8)
            Image.fromarray(noise).save(folder / "images" / f"{i}.jpg")
        (folder / "truth.json").write_text(json.dumps(document))
        return folder / "truth.json"

    def test_it_writes_tables_json_picture_and_submissions(
        self, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Grey images, shrunk, a network with cross-attention, every kind of strategy."""
        out = tmp_path / "results"
        argv = ["--weights", str(weights), "--data", str(self.data(tmp_path)), "--strategies",
                "global,sae,density,random,ours,oracle,exhaustive,larger,queries600", "--crops", "1,2",
                "--global-factor", "2", "--tile", "128", "--shrink", "2", "--seeds", "2", "--baseline", "global,random",
                "--refine.scales", "[1]", "--dota", "--resamples", "20", "--out", str(out)]  # fmt: skip
        assert evaluate_detector.main(argv) == 0
        printed = capsys.readouterr().out
        report = json.loads((out / "comparison.json").read_text())
        assert printed == (out / "comparison.md").read_text() == as_markdown(report)
        assert "evaluate_detector.py --weights" in printed
        assert "| random@1 (2 seeds) |" in printed
        assert "the model does not know bicycle: ignore regions" in printed
        rows = report["strategies"]
        assert {row["tiles_failed"] for row in rows.values()} == {0}
        assert rows["global"]["network_mpx_per_image"] == pytest.approx(64 * 48 / 1e6)
        assert rows["sae@1"]["crops_per_image"] == 1
        assert report["setting"]["refine"]["scales"] == [1.0]
        assert (report["images"], report["objects"]) == (3, 2)
        with Image.open(out / "comparison.png") as picture:
            assert picture.width > 800
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
        assert len(read_submission(out / "dota" / "random@1#1", ("person", "car"))) == 3

    def test_images_without_any_object(self, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """False alarms and costs are told, accuracies do not exist, and the json is one."""
        path = self.data(tmp_path)
        path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
        argv = ["--weights", str(weights), "--data", str(path), "--strategies", "global,oracle,uniform"]
        argv += ["--tile", "128", "--budgets", "1,1", "--resamples", "20", "--out", str(tmp_path / "results")]
        assert evaluate_detector.main(argv) == 0
        assert "| global | – | ––– | – |" in capsys.readouterr().out
        report = json.loads((tmp_path / "results" / "comparison.json").read_text(), parse_constant=pytest.fail)
        assert report["strategies"]["global"]["ap50"] is None
        assert report["strategies"]["global"]["false_positives_per_image"] > 0
        assert "oracle@1 took no crop" in report["notes"][1]

    def test_budgets_as_crops_per_tile(self) -> None:
        """Half the side of the picture costs a quarter of a look."""
        assert budgets_of_crops((1, 2, 8), (0.5,)) == (0.25, 0.5, 2.0)
        with pytest.raises(ConfigError, match="--crops needs crops of one size, not 2"):
            budgets_of_crops((1,), (0.25, 0.5))

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            (["--strategies", "global"], "--strategies needs --data"),
            (["--strategies", "magic", "--data", "DATA"], "there is no strategy 'magic'"),
            (["--strategies", "global", "--data", "DATA", "--refine.budgt", "1"], "did you mean refine.budget?"),
            (["--annotations", "DATA", "--tiling.gsd", "native"], "are for --strategies only"),
            (["--strategies", "global", "--data", "DATA", "--first", "0"], "--first must be at least 1, not 0"),
            (["--strategies", "global", "--data", "DATA", "--repeats", "0"], "--repeats must be at least 1, not 0"),
            (["--strategies", "global", "--data", "DATA", "--shrink", "0"], "--shrink must be positive, not 0"),
        ],
    )
    def test_it_refuses_in_one_sentence(
        self, argv: list[str], said: str, tmp_path: Path, weights: Path,
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(tmp_path)  # the folder of results is made before some refusals, and is here by default
        given = [str(self.data(tmp_path)) if word == "DATA" else word for word in argv]
        assert evaluate_detector.main(["--weights", str(weights), *given]) == 2
        assert said in capsys.readouterr().err

    def test_a_folder_that_cannot_be_written_to_is_told_before_the_measuring(
        self, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        argv = ["--weights", str(weights), "--data", str(self.data(tmp_path)), "--strategies", "global", "--out"]
        assert evaluate_detector.main([*argv, str(tmp_path / "file")]) == 5
        told = capsys.readouterr().err
        assert f"cannot write to {tmp_path / 'file'}" in told
        assert "1 of" not in told

    def test_more_queries_are_the_same_network(self, weights: Path, tmp_path: Path) -> None:
        copy = with_queries(weights, 600, tmp_path / "copy")
        assert load_network(copy).config == replace(SMALL, queries=600)
        assert load_network(weights).config == SMALL
        before, after = (load_network(folder).state_dict() for folder in (weights, copy))
        assert all(torch.equal(before[name], after[name]) for name in before)
        (weights / "config.json").write_text("{}")
        with pytest.raises(ConfigError, match="does not say how many queries"):
            with_queries(weights, 600, tmp_path / "other")
        with pytest.raises(ConfigError, match=r"yolo\.onnx answers as many queries as it was exported with"):
            with_queries(write_guest(tmp_path, "yolo"), 600, tmp_path / "other")


@pytest.mark.parametrize("prog", ["kestrel evaluate", "evaluate_detector.py"])
def test_the_command_of_a_report_can_be_pasted(prog: str, tmp_path: Path) -> None:
    """A shell takes it apart into the program and every argument that was given, spaces and all."""
    given = ["--data", str(tmp_path / "my images" / "a.json"), "--strategies", "global", "--refine.scales", "[0.5, 1]"]
    typed = as_typed(prog, given)
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {typed}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    program = ["kestrel", "evaluate"] if prog.startswith("kestrel") else ["python", "jobs/evaluate_detector.py"]
    assert words == [*program, *given]
