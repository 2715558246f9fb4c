"""The report of a detector as a folder: one page for people, and the matches for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.evaluation.errors.analysis import analyse
from pipeline.evaluation.errors.crops import crops_of
from pipeline.evaluation.errors.files import write_coco, write_csv, write_dota
from pipeline.evaluation.html.page import page
from pipeline.evaluation.judged import Judged
from pipeline.names import quoted
from pipeline.storage.files import file_names
from pipeline.storage.folders import staging_folder, swap_in

PAGE = "report.html"
FILES = {
    "matches.csv": "a row for every detection, and one for every object that none found",
    "truth.coco.json": "the objects as a COCO data set, with their kind",
    "detections.coco.json": "the detections as COCO results of it, with their kind",
    "dota": "the same as DOTA's text files",
}


def write_report(judged: Judged, figures: Mapping[str, Any], folder: Path) -> str:
    """Write ``report.html`` and FILES to ``folder`` in one step, in place of an earlier report; returns a sentence.

    ``figures`` are those of :func:`pipeline.evaluation.report.figures`. Raises ConfigError for a folder that holds
    anything else, StorageError when it cannot be written.
    """
    folder = folder.absolute()
    check_folder(folder)
    analysis = analyse(judged)
    crops, without = crops_of(judged, [one for group in analysis.worst.values() for one in group])
    with staging_folder(str(folder.parent), folder.name) as staged:
        write_csv(judged, analysis.judgement, staged / "matches.csv")
        write_coco(judged, analysis.judgement, staged)
        lacking = write_dota(judged, staged / "dota")
        notes = (*judged.notes, *without, *([lacking] if lacking else []))
        files = {name: what for name, what in FILES.items() if (staged / name).exists()}
        (staged / PAGE).write_text(page(judged, figures, analysis, crops, notes, files), encoding="utf-8")
        swap_in(staged, folder.parent, folder.name)
    return f"the report is {folder / PAGE}"


def check_folder(folder: Path) -> None:
    """Raise ConfigError unless ``folder`` is free, empty or an earlier report: it is replaced as a whole."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--report {folder} is a file; give a folder")
    strange = sorted(file_names(str(folder), folders=True) - {PAGE, *FILES})
    if strange:
        raise ConfigError(
            f"--report {folder} holds {quoted(strange[0])}, which no report has written, and a report replaces its "
            "folder as a whole: give another one"
        )
