"""DOTA's submission files, out and in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.dota_submission import read_submission, write_submission
from pipeline.geometry.obb import canonical_obb
from pipeline.types import Detections, Frame


class TestSubmission:
    boxes = canonical_obb(np.array([[40.0, 20, 18, 6, 0.5], [70, 40, 12, 5, -0.9], [10, 10, 9, 4, 1.2]]))

    def found(self, rows: list[int], class_ids: list[int]) -> Detections:
        scores = np.linspace(0.9, 0.3, len(rows))
        return Detections(self.boxes[rows], scores, np.array(class_ids, np.int64), Frame.SCENE)

    def test_what_is_written_is_read_back(self, tmp_path: Path) -> None:
        """Names without suffix, one file a class, none for the class of which nothing was found."""
        (tmp_path / "Task1_ship.txt").write_text("of an earlier run\n")
        found = {"P0002.png": self.found([0, 1], [0, 2]), "P0001.tif": self.found([2], [2]), "P3": self.found([], [])}
        files = write_submission(found, ("car", "ship", "plane"), tmp_path)
        assert [path.name for path in files] == ["Task1_car.txt", "Task1_plane.txt"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["Task1_car.txt", "Task1_plane.txt"]
        lines = files[1].read_text().splitlines()
        assert [line.split()[0] for line in lines] == ["P0001", "P0002"]
        assert all(len(line.split()) == 10 for line in lines)
        back = read_submission(tmp_path, ("car", "ship", "plane"))
        assert sorted(back) == ["P0001", "P0002"]
        for name, before in (("P0002", found["P0002.png"]), ("P0001", found["P0001.tif"])):
            np.testing.assert_allclose(back[name].boxes, before.boxes, atol=1e-3)
            np.testing.assert_allclose(back[name].scores, before.scores, atol=1e-6)
            assert back[name].class_ids.tolist() == before.class_ids.tolist()

    def test_nothing_found_is_no_file(self, tmp_path: Path) -> None:
        assert write_submission({"P1.png": self.found([], [])}, ("car",), tmp_path) == []
        assert read_submission(tmp_path, ("car",)) == {}

    def test_names_that_the_format_cannot_hold(self, tmp_path: Path) -> None:
        nothing = self.found([], [])
        with pytest.raises(ConfigError, match="white space"):
            write_submission({"a b.png": nothing}, ("car",), tmp_path)
        with pytest.raises(ConfigError, match="cannot tell them apart"):
            write_submission({"a.png": nothing, "a.tif": nothing}, ("car",), tmp_path)

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("Task1_car.txt", "P1 0.5 1 2 3\n", "line 1 is no detection"),
            ("Task1_car.txt", "P1 0.5 1 2 3 4 5 6 7 8\n\n", "line 2 is no detection"),
            ("Task1_bus.txt", "P1 0.5 1 2 3 4 5 6 7 8\n", "is of class 'bus'"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path: Path, name: str, text: str, said: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_submission(tmp_path, ("car",))
