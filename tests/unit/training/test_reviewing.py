"""``review`` from images and a COCO file to the reviewed copy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.train_detector import main
from pipeline.training.data.review import padded
from tests.support.prepared import scene_with

SHIPS = np.array([[40.0 + 60 * (i % 3), 40 + 70 * (i // 3), 30, 8, 0.4 * i] for i in range(9)])
Said = pytest.CaptureFixture[str]


def annotated(folder: Path) -> list[str]:
    """Three images of the same ships, annotated with paddings of 1, 2 and 6 px; → the arguments of ``review``."""
    annotations = []
    for image, padding in enumerate((1.0, 2.0, 6.0)):
        Image.fromarray(scene_with(SHIPS).pixels).save(folder / f"s{image}.png")
        annotations += [
            {"id": 10 * image + n, "image_id": image, "category_id": 1, "rbox": box.tolist(), "segmentation": []}
            for n, box in enumerate(padded(SHIPS, padding))
        ]
    document = {
        "categories": [{"id": 1, "name": "ship"}],
        "images": [{"id": image, "file_name": f"s{image}.png"} for image in range(3)],
        "annotations": annotations,
    }
    (folder / "a.json").write_text(json.dumps(document))
    return ["review", "--annotations", str(folder / "a.json"), "--images", str(folder)]


def test_boxes_of_all_scenes_are_padded_alike(tmp_path: Path, capsys: Said) -> None:
    command = annotated(tmp_path)
    before = (tmp_path / "a.json").read_bytes()
    (tmp_path / "r.yaml").write_text("s1:\n  - [5, 5, 20, 30, boats]\nelsewhere:\n  - [0, 0, 1, 1, boats]\n")
    assert main([*command, "--regions", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "b.json")]) == 0
    document = json.loads((tmp_path / "b.json").read_text())
    widths = {image: [] for image in range(3)}
    for one in document["annotations"]:
        if not one.get("ignore"):
            widths[one["image_id"]].append(one["rbox"][3])
    medians = [float(np.median(widths[image])) for image in range(3)]
    assert np.ptp(medians) < 0.6, "they differed by 5 px"
    assert (tmp_path / "a.json").read_bytes() == before
    assert [one["what"] for one in document["annotations"] if one.get("ignore")] == ["boats"]
    said = capsys.readouterr().out
    assert "s2: padding" in said
    assert "elsewhere: " in said
    assert document["review"]["padding_px"].keys() == {"s0", "s1", "s2"}


def test_the_original_is_not_written_over(tmp_path: Path, capsys: Said) -> None:
    assert main([*annotated(tmp_path), "--out", str(tmp_path / "a.json")]) == 2
    assert "the original must stay" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["s1:\n  - [5, 5, 2, 30, boats]\n", "s1: [1, 2]\n", "- 3\n", "{", "s1:\n  - [5, 5]\n"])
def test_regions_that_are_none_are_one_sentence(text: str, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "r.yaml").write_text(text)
    command = [*annotated(tmp_path), "--regions", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "b.json")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "r.yaml" in said
    assert "Traceback" not in said
    assert not (tmp_path / "b.json").exists()
