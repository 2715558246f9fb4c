"""The style that QGIS finds beside the GeoPackage."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

from pipeline.outputs.geopackage import write_gpkg
from pipeline.outputs.qgis import qgis_style
from pipeline.pictures.colours import class_colour
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


def test_several_classes_have_a_colour_each_whatever_they_are_called() -> None:
    classes = ["ship", 'quay "crane"', "Möwe & <Boje>", "bell\x07", *map(str, range(20))]
    root = ET.fromstring(qgis_style(classes))
    renderer = root.find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class_id")
    assert [one.get("label") for one in renderer.iter("category")][:4] == ["ship", *classes[1:3], "bell?"]
    colours = [one.get("value") for one in renderer.iter("Option") if one.get("name") == "outline_color"]
    assert len(set(colours)) == len(classes)
    assert ET.fromstring(qgis_style(["ship"])).find("renderer-v2").get("type") == "graduatedSymbol"


def test_a_class_keeps_its_colour() -> None:
    assert class_colour(0) == (230, 159, 0)
    assert len({class_colour(one) for one in range(60)}) == 60
