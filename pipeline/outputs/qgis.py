"""The QGIS layer style of detections."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from pipeline.pictures.colours import Colour, class_colour, score_colour

LABELS_FROM_SCALE = 25_000
"""Labels appear at 1 : this, and nearer."""


def qgis_style(classes: Sequence[str] = ()) -> str:
    """A QGIS layer style: outlines in the colour of their class where there are several, else in steps of the score.

    Labels say class and score when one is near.
    """
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology|Labeling")
    if len(classes) > 1:
        _by_class(root, classes)
    else:
        _by_score(root)
    labeling = ET.SubElement(root, "labeling", type="simple")
    settings = ET.SubElement(labeling, "settings", calloutType="simple")
    text = {"fieldName": "class_name || ' ' || format_number(score, 2)", "isExpression": "1", "fontSize": "8"}
    style = ET.SubElement(settings, "text-style", {**text, "fontSizeUnit": "Point", "textColor": "30,30,30,255"})
    buffer = {"bufferDraw": "1", "bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": "255,255,255,230"}
    ET.SubElement(style, "text-buffer", buffer)
    ET.SubElement(settings, "placement", placement="1", dist="1", distUnits="MM")
    # scaleMin is the nearest scale, and scaleMax the farthest: by their denominators, as before QGIS 3.
    scale = str(LABELS_FROM_SCALE)
    ET.SubElement(settings, "rendering", scaleVisibility="1", scaleMin="1", scaleMax=scale, drawLabels="1")
    ET.SubElement(root, "layerGeometryType").text = "2"
    ET.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, "unicode") + "\n"


def _by_score(root: ET.Element) -> None:
    """Ten steps of the score."""
    renderer = ET.SubElement(
        root, "renderer-v2", type="graduatedSymbol", attr="score", graduatedMethod="GraduatedColor"
    )
    ranges, symbols = (ET.SubElement(renderer, name) for name in ("ranges", "symbols"))
    for step in range(10):
        lower, upper, name = step / 10, (step + 1) / 10, str(step)
        label = f"score {lower:.1f} – {upper:.1f}"
        ET.SubElement(
            ranges, "range", lower=f"{lower:.1f}", upper=f"{upper:.1f}", symbol=name, label=label, render="true"
        )
        _outline(symbols, name, score_colour((lower + upper) / 2, 0.0))


def _by_class(root: ET.Element, classes: Sequence[str]) -> None:
    """One colour a class, whether or not this scene has any of it."""
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class_id")
    categories, symbols = (ET.SubElement(renderer, name) for name in ("categories", "symbols"))
    for class_id, label in enumerate(classes):
        name = str(class_id)
        ET.SubElement(
            categories, "category", value=name, symbol=name, label=_printable(label), render="true", type="long"
        )
        _outline(symbols, name, class_colour(class_id))


def _printable(text: str) -> str:
    """XML has no place for control characters, and a class may be called anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _outline(symbols: ET.Element, name: str, colour: Colour) -> None:
    symbol = ET.SubElement(symbols, "symbol", type="fill", name=name, alpha="1")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
    red, green, blue = colour
    _options(layer, style="no", outline_color=f"{red},{green},{blue},255", outline_width="0.5", outline_style="solid")


def _options(parent: ET.Element, **values: str) -> None:
    options = ET.SubElement(parent, "Option", type="Map")
    for name, value in values.items():
        ET.SubElement(options, "Option", name=name, type="QString", value=value)
