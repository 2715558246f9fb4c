"""The sections of the report."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy as np

from pipeline.evaluation.errors.analysis import Analysis
from pipeline.evaluation.errors.kinds import ERRORS, FOUND_IOU, NEAR_IOU, Kind
from pipeline.evaluation.errors.shares import Band, labelled
from pipeline.evaluation.html.charts import precision_recall, recall_of_bands, reliability_dots
from pipeline.evaluation.html.element import Markup, element, joined, name_of
from pipeline.evaluation.html.tables import Words, bar_cell, between, decimals, matrix, table, text_cell
from pipeline.evaluation.judged import Judged

MEANINGS = {
    Kind.MISSED: "an object that no detection is about",
    Kind.BACKGROUND: f"a detection with an IoU below {NEAR_IOU:g} with every object",
    Kind.DUPLICATE: "one more detection of an object that was found",
    Kind.POOR_LOCALISATION: f"right class, IoU of {NEAR_IOU:g} to {FOUND_IOU:g}",
    Kind.WRONG_CLASS: f"IoU of at least {FOUND_IOU:g} with an object of another class",
    Kind.WRONG_CLASS_AND_POOR_LOCALISATION: f"another class, IoU of {NEAR_IOU:g} to {FOUND_IOU:g}",
}
MOST_SCENES = 50
"""In the table of scenes."""
Figures = Mapping[str, Any]


def headline(figures: Figures) -> Markup:
    """The figures of all classes."""
    least = f"at a score of {figures['score_threshold']:.3g}"
    shown = {
        "AP50": (figures["ap50"], between(figures["ap50_interval"])),
        "AP75": (figures["ap75"], ""),
        "AP50:95": (figures["ap50_95"], ""),
        "Precision": (figures["precision"], between(figures["precision_interval"]) or least),
        "Recall": (figures["recall"], between(figures["recall_interval"]) or least),
        "F1": (figures["f1"], between(figures["f1_interval"]) or least),
    }
    tiles = [
        element("div", element("dt", name), element("dd", decimals(value), element("small", small) if small else None))
        for name, (value, small) in shown.items()
    ]
    note = (
        f"Precision, recall and F1 {least}. Intervals are 95 %, {figures['bootstrap']}; of a handful they say little."
    )
    return joined(element("dl", *tiles), element("p", note, class_="faint"))


def errors(analysis: Analysis, figures: Figures) -> Markup:
    """Kinds of errors, how many there are, and what repairing each would bring."""
    least, most = figures["score_threshold"], max([0.0, *analysis.gains.values()])
    rows = [
        (kind.text.capitalize(), f"{analysis.counts[kind]:,}", f"{analysis.counts_of_all[kind]:,}",
         _gain(analysis.gains[kind]), bar_cell(_share(analysis.gains[kind], most)), text_cell(MEANINGS[kind]))
        for kind in ERRORS
    ]  # fmt: skip
    heads = ("Kind", f"Score ≥ {least:.3g}", "Any score", "AP50 gained", "", Words("What it is"))
    together = (
        f"With no wrong detection at all AP50 would gain {_gain(analysis.gain_of_no_wrong)}, with every object found "
        f"{_gain(analysis.gain_of_all_found)}. Gains are compared, not added: errors hide one another."
    )
    source = "Kinds after TIDE (Bolya et al. 2020), with the exact rotated IoU."
    return joined(
        element("p", _foremost(analysis), class_="lead"), table(heads, rows), element("p", together),
        element("p", source, class_="faint"),
    )  # fmt: skip


def _foremost(analysis: Analysis) -> str:
    known = {kind: gain for kind, gain in analysis.gains.items() if not isnan(gain)}
    if not known:
        return "Nothing was to be found, so there is no average precision."
    kind = max(known, key=lambda one: known[one])
    if known[kind] < 0.0005:
        return "No kind of error costs anything."
    return f"Repairing “{kind.text}” would bring the most: {_gain(known[kind])} of AP50."


def curves(judged: Judged, analysis: Analysis, figures: Figures) -> Markup:
    """Precision over recall of every class, and its figures."""
    rows = []
    intervals = {one.class_id: one.interval for one in analysis.curves}
    per_class = figures["per_class"]
    for class_id, name in enumerate(judged.classes):
        row = per_class.get(name)
        if row is not None:
            rows.append((
                name_of(name), f"{row['annotations']:,}", decimals(row["ap50"]),
                between(intervals.get(class_id, (None, None))), decimals(row["ap75"]), decimals(row["ap50_95"]),
                f"{row['right']:,}", f"{row['wrong']:,}", f"{row['missed']:,}",
            ))  # fmt: skip
    heads = ("Class", "Objects", "AP50", "95 %", "AP75", "AP50:95", "Right", "Wrong", "Not found")
    charts = [
        element("figure", precision_recall(one.recall, one.precision, "precision over recall"),
                element("figcaption", name_of(judged.classes[one.class_id]), ", AP50 ",
                        decimals(per_class[judged.classes[one.class_id]]["ap50"])))
        for one in analysis.curves
    ]  # fmt: skip
    return joined(table(heads, rows), element("div", *charts, class_="charts"))


def confusion(judged: Judged, analysis: Analysis) -> Markup:
    """The classes that occur, and the background."""
    counts = analysis.confusion
    present = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1) > 0)
    present = np.union1d(present, [len(counts) - 1])
    names = [*(name_of(name) for name in judged.classes), element("em", "background")]
    text = (
        "A row is what lies there, a column what was said, above the score threshold. The last column holds objects "
        "that were not found, the last row detections of nothing, and further detections of an object."
    )
    shown = matrix([names[one] for one in present], counts[np.ix_(present, present)])
    return joined(element("p", text), shown)


def scenes(figures: Figures) -> Markup:
    """What was right, wrong and not found in every scene; those with most errors where there are very many."""
    rows = sorted(figures["per_scene"].items(), key=lambda row: -row[1]["wrong"] - row[1]["missed"])
    cells = [(name_of(name), f"{one['right']:,}", f"{one['wrong']:,}", f"{one['missed']:,}") for name, one in rows]
    note = f"The {MOST_SCENES} with the most errors, of {len(rows):,}." if len(rows) > MOST_SCENES else None
    shown = table(("Scene", "Right", "Wrong", "Not found"), cells[:MOST_SCENES])
    return joined(shown, None if note is None else element("p", note, class_="faint"))


def recall(analysis: Analysis) -> Markup:
    """Recall by size and by distance to a seam."""
    if analysis.by_seam is None:
        seams = element("p", "Not known: these detections do not say which tiles they come from.")
    elif not analysis.by_seam:
        seams = element("p", "There is none: every scene that holds an object is one tile.")
    else:
        seams = _bands(analysis.by_seam, "distance, lattice pixels")
    sizes = _bands(analysis.by_size, "root of the area, scene pixels")
    return joined(element("h3", "By size"), sizes, element("h3", "By distance to the border of two tiles"), seams)


def _bands(bands: tuple[Band, ...], label: str) -> Markup:
    if not bands:
        return element("p", "There is no such object.")
    heads = (label.split(",")[-1].strip().capitalize(), "Objects", "Found", "Recall", "95 %")
    rows = [
        (labelled(one), f"{one.objects:,}", f"{one.found:,}", decimals(one.recall), between(one.interval))
        for one in bands
    ]
    chart = element("figure", recall_of_bands(bands, label, f"recall by {label}"))
    return element("div", chart, table(heads, rows), class_="pair")


def calibration(analysis: Analysis) -> Markup:
    """Scores against the share that is right."""
    reliability = analysis.reliability
    if not reliability.boxes.any():
        return element("p", "No detection was right or wrong.")
    text = (
        f"Expected calibration error {reliability.error:.3f} over {int(reliability.boxes.sum()):,} detections of any "
        "score. A dot below the dashed line stands for scores that promise too much; large dots for many detections."
    )
    after = None
    if analysis.calibrated is not None:
        error = f"{analysis.calibrated.error:.3f}"
        after = f"By the detector's calibration, the column precision of its results, it is {error} (dashed)."
    count = len(reliability.boxes)
    rows = [
        (f"{place / count:.1f}–{(place + 1) / count:.1f}", f"{boxes:,}", decimals(expected), decimals(right))
        for place, (boxes, expected, right) in enumerate(
            zip(reliability.boxes.tolist(), reliability.expected, reliability.right, strict=True)
        )
        if boxes
    ]
    bins = [one for one in (reliability, analysis.calibrated) if one is not None]
    chart = element("figure", reliability_dots(bins, "share of right detections over their score"))
    heads = ("Scores", "Detections", "Mean score", "Share right")
    said = joined(element("p", text), None if after is None else element("p", after))
    return joined(said, element("div", chart, table(heads, rows), class_="pair"))


def _gain(value: float) -> str:
    return "–" if isnan(value) else f"{value:+.3f}"


def _share(value: float, most: float) -> float:
    return 0.0 if isnan(value) or most <= 0 else value / most
