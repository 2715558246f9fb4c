"""The whole report as one HTML file that needs nothing else: no scripts, no fonts, no pictures from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline import __version__
from pipeline.evaluation.errors.analysis import Analysis
from pipeline.evaluation.errors.crops import Crop
from pipeline.evaluation.errors.worst import Example
from pipeline.evaluation.html import sections
from pipeline.evaluation.html.element import Markup, element, joined, name_of, visible
from pipeline.evaluation.html.sheet import contact_sheet
from pipeline.evaluation.html.style import STYLE
from pipeline.evaluation.judged import Judged

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for this page: the pictures and the style inside it, and no script."""


def page(
    judged: Judged,
    figures: Mapping[str, Any],
    analysis: Analysis,
    crops: dict[Example, Crop],
    notes: tuple[str, ...],
    files: Mapping[str, str],
) -> str:
    """The text of the file. ``figures`` are those of :func:`pipeline.evaluation.report.figures`; ``files`` lie beside
    it: name → what it holds."""
    title = f"{judged.detector} on {judged.data}"
    counts = [(figures["scenes"], "scene"), (figures["annotations"], "object"), (_detections(judged), "detection")]
    facts = ", ".join(f"{count:,} {what}{'' if count == 1 else 's'}" for count, what in counts)
    body = [
        element("header", element("h1", name_of(judged.detector)), element("p", "judged on ", name_of(judged.data))),
        element("p", f"{facts}.", _set_apart(judged), class_="faint"),
        sections.headline(figures),
        _section("What goes wrong", sections.errors(analysis, figures)),
        _section("Precision and recall", sections.curves(judged, analysis, figures)),
        _section("Which class is taken for which", sections.confusion(judged, analysis)),
        _section("Which objects are found", sections.recall(analysis)),
        _section("Scene by scene", sections.scenes(figures)),
        _section("What a score is worth", sections.calibration(analysis)),
        _section("The worst errors", contact_sheet(judged, analysis.judgement, analysis.worst, crops)),
        _section("Notes", _notes(figures, notes)),
        _section("Files beside this page", _files(files)),
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", visible(title)),
        element("style", STYLE),
    )
    return "<!doctype html>\n" + element("html", head, element("body", element("main", *body)), lang="en") + "\n"


def _section(title: str, content: Markup) -> Markup:
    return element("section", element("h2", title), content)


def _detections(judged: Judged) -> int:
    return sum(len(one) for one in judged.found.values())


def _set_apart(judged: Judged) -> str | None:
    """What was there to be found and is not judged."""
    counts = Counter(reason for reasons in judged.apart.values() for reason in reasons if reason)
    if not counts:
        return None
    shown = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    return f" Not judged, and in no figure: {counts.total():,} more ({shown})."


def _notes(figures: Mapping[str, Any], notes: tuple[str, ...]) -> Markup:
    said = [*notes, f"Evaluator: {figures['evaluator']}.", f"Made by kestrel {__version__}."]
    return element("ul", *(element("li", visible(one)) for one in said))


def _files(files: Mapping[str, str]) -> Markup:
    return element("ul", *(joined(element("li", element("code", name), f" – {what}")) for name, what in files.items()))
