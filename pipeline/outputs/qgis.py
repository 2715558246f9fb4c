"""The QGIS layer style of detections."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pipeline.pictures.colours import score_colour


def qgis_style() -> str:
    """A QGIS layer style: outlines coloured by score in steps of 0.1, labelled with class and score when near."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology|Labeling")
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
        symbol = ET.SubElement(symbols, "symbol", type="fill", name=name, alpha="1")
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
        red, green, blue = score_colour((lower + upper) / 2, 0.0)
        _options(
            layer, style="no", outline_color=f"{red},{green},{blue},255", outline_width="0.5", outline_style="solid"
        )
    labeling = ET.SubElement(root, "labeling", type="simple")
    settings = ET.SubElement(labeling, "settings", calloutType="simple")
    text = {"fieldName": "class_name || ' ' || format_number(score, 2)", "isExpression": "1", "fontSize": "8"}
    style = ET.SubElement(settings, "text-style", {**text, "fontSizeUnit": "Point", "textColor": "30,30,30,255"})
    buffer = {"bufferDraw": "1", "bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": "255,255,255,230"}
    ET.SubElement(style, "text-buffer", buffer)
    ET.SubElement(settings, "placement", placement="1", dist="1", distUnits="MM")
    ET.SubElement(settings, "rendering", scaleVisibility="1", scaleMin="25000", scaleMax="1", drawLabels="1")
    ET.SubElement(root, "layerGeometryType").text = "2"
    ET.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, "unicode") + "\n"


def _options(parent: ET.Element, **values: str) -> None:
    options = ET.SubElement(parent, "Option", type="Map")
    for name, value in values.items():
        ET.SubElement(options, "Option", name=name, type="QString", value=value)
