"""What is said of the embedded detectors for scenes of other bands than theirs, and of one that suits several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from jobs.detect_scene import main
from pipeline.planning.embedded import advice, choices, embedded_cards, suits
from pipeline.types import ModelCard
from tests.support.scenes import NORTH_UP, UTM

COLOUR = ModelCard(
    name="a", classes=("ship",), gsd_m=6.0, bands=("red", "green", "blue"), input_px=512, sha256="0" * 64,
    metrics={"val": {"ap50": 0.33}},
)  # fmt: skip
NIR = replace(COLOUR, bands=("nir",), mean=(0.5,), std=(0.5,), metrics={"val": {"ap50": 0.41}})
CARDS = {"builtin:a": COLOUR, "builtin:b": NIR}
FOUR = ("blue", "green", "red", "nir")


@pytest.mark.parametrize(
    ("names", "colour", "nir"),
    [
        (FOUR, True, True),
        (("red", "green", "blue"), True, False),
        (("nir",), False, True),
        (("",), False, True),
        (("", "", ""), True, False),
        (("", "", "", ""), True, False),
        (("red",), False, False),
        (("nir", "red", "green"), False, True),
    ],
)
def test_which_detector_suits_which_bands(names: tuple[str, ...], colour: bool, nir: bool) -> None:
    assert (suits(COLOUR, names), suits(NIR, names)) == (colour, nir)


def test_a_scene_of_both_is_told_which_to_choose_and_why() -> None:
    said = list(choices(FOUR, CARDS))
    assert said[0] == "builtin:a looks at red, green, blue and suits this scene"
    assert said[-1].startswith(
        "choose --weights builtin:b: it found most on validation scenes (AP50 0.41; builtin:a 0.33"
    )
    assert len(list(choices(("nir",), CARDS))) == 2, "nothing is to be chosen between"


def test_what_to_choose_instead_is_said() -> None:
    assert "--weights builtin:b (nir)" in advice(("",), CARDS)
    assert "--weights builtin:a (red, green, blue)" in advice(("red", "green", "blue"), CARDS)
    assert "none suits" in advice(("swir",), CARDS)


def test_every_embedded_detector_is_there() -> None:
    assert embedded_cards()["builtin:ships-s2"].bands == ("red", "green", "blue")


def test_the_dry_run_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, crs=UTM, transform=NORTH_UP, count=1, dtype="uint16"
    ) as file:
        file.write(np.full((1, 64, 64), 9, np.uint16))
        file.descriptions = ("B08",)
    assert main(["--scene", str(path), "--out", str(tmp_path / "out"), "--dry_run", "true"]) == 0
    said = capsys.readouterr().out
    assert "builtin:ships-s2 looks at red, green, blue and does not suit: the scene's bands are 1 nir" in said
