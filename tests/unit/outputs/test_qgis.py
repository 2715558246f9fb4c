"""The style that QGIS finds beside the GeoPackage."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

from pipeline.outputs.geopackage import write_gpkg
from tests.support.outputs import sample


def test_the_qgis_style_is_graduated_by_score_without_gaps(tmp_path: Path) -> None:
    write_gpkg(sample(1).table(), tmp_path / "detections.gpkg", None)
    root = ET.fromstring((tmp_path / "detections.qml").read_text(encoding="utf-8"))
    renderer = root.find("renderer-v2")
    assert (root.tag, renderer.get("type"), renderer.get("attr")) == ("qgis", "graduatedSymbol", "score")
    bounds = [(float(r.get("lower")), float(r.get("upper"))) for r in renderer.iter("range")]
    assert (bounds[0][0], bounds[-1][1]) == (0.0, 1.0)
    assert all(left[1] == right[0] for left, right in pairwise(bounds))
    assert {r.get("symbol") for r in renderer.iter("range")} == {s.get("name") for s in renderer.iter("symbol")}
    assert "class_name" in root.find("labeling/settings/text-style").get("fieldName")
