"""What every output format promises; see :mod:`pipeline.outputs.formats`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from pipeline.georeference.georeference import Georeference
from pipeline.outputs.formats import FORMATS
from pipeline.outputs.result import Result
from pipeline.types import Calibration, Scene
from tests.support.outputs import CALIBRATION, CLASSES, UTM_32N, sample

SCENE = Scene(
    scene_id="S2A_demo", uris=("S2A_demo.tif",), width=100_000, height=100_000, bands=(1, 2, 3), band_count=3,
    dtype="uint16", driver="GTiff", crs_wkt=UTM_32N.to_wkt(), transform=(10.0, 0.0, 4e5, 0.0, -10.0, 5.6e6),
)  # fmt: skip


class FormatContract:
    """Subclass it with the format's ``name``, the ``files`` it writes, and a reader that is not ours."""

    name: str
    files: frozenset[str]
    placeless: frozenset[str]
    """What it writes for a scene that has no place on Earth."""

    def read(self, folder: Path) -> list[dict[str, Any]]:
        """One dictionary per detection, with the columns as the format's readers name them."""
        raise NotImplementedError

    def write(self, folder: Path, rows: int, *, place: bool = True, calibration: Calibration | None = None) -> Result:
        folder.mkdir(exist_ok=True)
        table = sample(rows, georeferenced=place).table(calibration)
        result = Result(
            table=table, georeference=Georeference.of(SCENE) if place else None, metadata={"sensor": "MSI"},
            scene_id=SCENE.scene_id, classes=CLASSES,
        )  # fmt: skip
        FORMATS[self.name](result, folder)
        return result

    def test_it_writes_these_files_and_no_others(self, tmp_path: Path) -> None:
        self.write(tmp_path / "a", 12)
        assert {path.name for path in (tmp_path / "a").iterdir()} == self.files

    def test_a_scene_without_a_place_on_earth_is_written_as_it_is_or_not_at_all(self, tmp_path: Path) -> None:
        self.write(tmp_path / "a", 12, place=False)
        assert {path.name for path in (tmp_path / "a").iterdir()} == self.placeless

    @pytest.mark.parametrize("rows", [0, 1, 250])
    def test_the_same_result_gives_the_same_bytes(self, rows: int, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            self.write(tmp_path / folder, rows)
        for name in self.files:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    @pytest.mark.parametrize("rows", [0, 1, 250])
    def test_others_read_every_detection_with_its_id_class_and_score(self, rows: int, tmp_path: Path) -> None:
        expected = self.write(tmp_path / "a", rows).table.to_pylist()
        got = {row["detection_id"]: row for row in self.read(tmp_path / "a")}
        assert got.keys() == {row["detection_id"] for row in expected}
        for row in expected:
            told = got[row["detection_id"]]
            assert told["class_name"] == row["class_name"]
            assert told["score"] == pytest.approx(row["score"], abs=1e-6)
            assert told["acquired"] == row["acquired"] == "2023-07-14"
            assert told["length_m"] == pytest.approx(row["length_m"], rel=1e-5)

    @pytest.mark.parametrize("calibration", [CALIBRATION, None], ids=["calibrated", "not calibrated"])
    def test_others_read_the_precision_after_the_score_or_null(
        self, calibration: Calibration | None, tmp_path: Path
    ) -> None:
        expected = self.write(tmp_path / "a", 250, calibration=calibration).table.to_pylist()
        got = {row["detection_id"]: row for row in self.read(tmp_path / "a")}
        for row in expected:
            told = got[row["detection_id"]]
            names = list(told)
            assert names.index("precision") == names.index("score") + 1
            if calibration is None:
                assert told["precision"] is None or math.isnan(told["precision"])
            else:
                assert told["precision"] == pytest.approx(row["precision"], abs=1e-5)
                assert 0.1 <= told["precision"] <= 0.85

    def test_a_folder_that_is_gone_is_an_error_of_the_disk(self, tmp_path: Path) -> None:
        result = self.write(tmp_path / "a", 3)
        with pytest.raises(OSError):
            FORMATS[self.name](result, tmp_path / "gone")
