"""The report of a comparison as Markdown tables. Accuracies are in percent, differences in points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.evaluation.coco_metrics import SIZES

Row = Mapping[str, Any]


def as_markdown(report: Mapping[str, Any]) -> str:
    """Tables of accuracy and cost, of sizes, of differences, of the readings and of the seams."""
    rows: Mapping[str, Row] = report["strategies"]
    notes = [f"- {note}" for note in report.get("notes", [])]
    parts = [
        "# Ways of looking, compared",
        "\n".join([_setting(report), *notes]),
        *([f"```\n{report['command']}\n```"] if "command" in report else []),
        "## Accuracy and cost\n\n" + _accuracy(rows, report["baselines"]),
        "## By size (root of the area, pixels)\n\n" + _sizes(rows),
        *([f"## Differences of AP50, points\n\n{_differences(rows)}"] if _differences(rows) else []),
        *([f"## What the second look is worth\n\n{_readings(report)}"] if report["readings"] else []),
        *([f"## Recall by distance to the nearest seam, lattice pixels\n\n{_seams(rows)}"] if _seams(rows) else []),
        report["evaluator"],
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _setting(report: Mapping[str, Any]) -> str:
    return (
        f"{report['images']} images, {report['objects']} objects ({', '.join(report['classes'])}). "
        f"Score threshold for recall and false positives: {report['score_threshold']:.3g}. "
        f"Intervals: 95 %, paired bootstrap, {report['bootstrap']}.\n"
    )


def _accuracy(rows: Mapping[str, Row], baselines: Sequence[str]) -> str:
    first = baselines[0] if baselines else None
    against = next((family for family, row in rows.items() if row["kind"] == first), None)
    time_base = rows[against]["seconds_p50"] if against else math.nan
    columns: dict[str, Callable[[str, Row], str]] = {
        "strategy": lambda family, row: family + (f" ({row['seeds']} seeds)" if row["seeds"] > 1 else ""),
        "AP50": lambda _, row: percent(row["ap50"]),
        "95 %": lambda _, row: between(row["ap50_interval"]),
        **({f"Δ {first}": lambda _, row: _delta(row, first, rows)} if against else {}),
        "AP75": lambda _, row: percent(row["ap75"]),
        "VOC 07": lambda _, row: percent(row["ap50_voc07"]),
        "AP50:95": lambda _, row: percent(row["ap50_95"]),
        "COCO AP": lambda _, row: percent(row["coco"]["ap"]),
        "COCO AP50": lambda _, row: percent(row["coco"]["ap50"]),
        "COCO AP75": lambda _, row: percent(row["coco"]["ap75"]),
        "recall": lambda _, row: percent(row["recall"]),
        "FP/image": lambda _, row: f"{row['false_positives_per_image']:.2f}",
        "p50 s": lambda _, row: f"{row['seconds_p50']:.3f}",
        "p95 s": lambda _, row: f"{row['seconds_p95']:.3f}",
        **({"time": lambda _, row: f"{row['seconds_p50'] / time_base:.2f} ×"} if against else {}),
        "Mpx": lambda _, row: f"{row['network_mpx_per_image']:.3f}",
        "crops": lambda _, row: f"{row['crops_per_image']:.2f}",
        "gated": lambda _, row: percent(row["tiles_gated"]),
    }
    return table([list(columns), *([cell(family, row) for cell in columns.values()] for family, row in rows.items())])


def _sizes(rows: Mapping[str, Row]) -> str:
    limits = {name: f"{low:g}–{high:g}" if high < 1e4 else f"{low:g}+" for name, (low, high) in SIZES.items()}
    head = ["strategy", *(f"{kind} {name} ({limits[name]})" for kind in ("AP50", "COCO AP") for name in SIZES)]
    body = [
        [
            family,
            *(percent(row[f"ap50_{name}"]) for name in SIZES),
            *(percent(row["coco"][f"ap_{name}"]) for name in SIZES),
        ]
        for family, row in rows.items()
    ]
    kept = [i for i in range(len(head)) if i == 0 or any(line[i] != "–" for line in body)]
    return table([[line[i] for i in kept] for line in (head, *body)])


def _differences(rows: Mapping[str, Row]) -> str:
    others = list(dict.fromkeys(rows[other]["kind"] for row in rows.values() for other in row["differences"]))
    if len(others) < 2:  # one stands in the first table already
        return ""
    body = [[family, *(_delta(row, kind, rows) for kind in others)] for family, row in rows.items()]
    return table([["strategy", *(f"− {kind}" for kind in others)], *body])


def _readings(report: Mapping[str, Any]) -> str:
    rows, readings = report["strategies"], report["readings"]
    columns: dict[str, Callable[[str, Row], str]] = {
        "strategy": lambda family, _: family,
        "extra time": lambda _, one: signed(one.get("extra_time")) + " %",
        "extra CPU time": lambda _, one: signed(one.get("extra_cpu_time")) + " %",
        "AP50 − global": lambda family, _: _delta(rows[family], "global", rows),
        "AP50 − uniform": lambda family, _: _delta(rows[family], "uniform", rows),
        "of exhaustive's AP50": lambda _, one: percent(one.get("share_of_exhaustive_ap50")),
        "at its time": lambda _, one: percent(one.get("share_of_exhaustive_time")),
        "COCO AP medium": lambda _, one: signed(one.get("coco_ap_medium_gain")),
        "COCO AP large": lambda _, one: signed(one.get("coco_ap_large_gain")),
        "of random → oracle": lambda _, one: percent(one.get("gap_closed")),
        "larger, same time": lambda _, one: percent(one.get("larger_ap50_at_equal_time")),
    }
    body = [[cell(family, one) for cell in columns.values()] for family, one in readings.items()]
    return table([list(columns), *body])


def _seams(rows: Mapping[str, Row]) -> str:
    bands = list(dict.fromkeys(band for row in rows.values() for band in row["recall_by_seam"]))
    if not bands:
        return ""
    body = [
        [family, *(_band(row["recall_by_seam"].get(band)) for band in bands)]
        for family, row in rows.items()
        if row["recall_by_seam"]
    ]
    return table([["strategy", *bands], *body])


def _band(found: Row | None) -> str:
    return "–" if found is None else f"{percent(found['recall'])} of {found['objects']:.0f}"


def _delta(row: Row, kind: str | None, rows: Mapping[str, Row]) -> str:
    for other, difference in row["differences"].items():
        if rows[other]["kind"] == kind:
            low, high = (signed(bound) for bound in difference["interval"])
            return f"{signed(difference['ap50'])} [{low}, {high}]"
    return "–"


def percent(value: float | None) -> str:
    """``0.1234`` → ``12.3``; a dash for what does not exist."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def signed(value: float | None) -> str:
    """The same with its sign."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:+.1f}"


def between(bounds: Sequence[float]) -> str:
    """An interval."""
    return f"{percent(bounds[0])}–{percent(bounds[1])}"


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its head."""
    head, *body = lines
    rule = ["---", *("--:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))
