"""Tell all results in an output folder as one STAC collection, and all their detections as one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.ending import job
from pipeline import __version__
from pipeline.names import shown
from pipeline.reporting.journal import Journal

EXAMPLE = """\
examples:
  {prog} results
  {prog} s3://bucket/results

OUT is the --out of kestrel detect, a folder or an address. Whole results are taken, those with a manifest.json, whoever
wrote them and when; scenes that failed are not. Nothing of a result is changed. What comes out lies beside the results:

  OUT/_catalogue/collection.json       the STAC collection: open this one, in pystac, QGIS or a STAC browser
  OUT/_catalogue/items.parquet         all items as one table (stac-geoparquet): open this one in GeoPandas or DuckDB
  OUT/_catalogue/items/SCENE.json      a scene: its footprint, its time, its files with sizes and checksums
  OUT/_catalogue/models/MODEL.json     a model that found something, by the machine learning extension
  OUT/_catalogue/detections/           the detections of all scenes as one table in longitude and latitude

Call it again whenever results have come, changed or gone: what is in the collection already costs one comparison a
scene. Two at once are safe, and one that is killed loses nothing. Edit title, description, license, keywords or
providers in collection.json, and they stay.

exit codes: 0 done, 2 OUT holds no results, or was collected with another --merge.same_pass_s, 5 the store fails"""


@job("interrupted: the same command goes on from there")
def main(argv: Sequence[str] | None = None, prog: str = "collect_results.py") -> int:
    """Collect; one line of what came of it, and the exit code."""
    arguments = build_parser(prog).parse_args(argv)
    journal = Journal(form=arguments.log)
    from pipeline.catalogue.collect import collect  # late: --help answers at once

    done = collect(arguments.out, journal, same_pass_s=arguments.same_pass_s)
    counts = {"added": done.added, "replaced": done.replaced, "removed": done.removed}
    changes = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing has changed"
    nowhere = f", {done.placeless} of them without a place on Earth" if done.placeless else ""
    journal.emit(
        "collected",
        f"{shown(done.address)}: {done.scenes} scenes{nowhere}; {changes}; {done.rows} detections new",
        address=done.address, scenes=done.scenes, placeless=done.placeless, rows=done.rows, **counts,
    )  # fmt: skip
    return 0


def build_parser(prog: str) -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, epilog=EXAMPLE.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"kestrel {__version__}")
    parser.add_argument(
        "out", metavar="OUT", help="the --out of kestrel detect: a folder, or an address such as s3://…"
    )
    parser.add_argument("--merge.same_pass_s", dest="same_pass_s", type=float, metavar="SECONDS",
                        help="overlapping scenes of one sensor that are no further apart show the same objects "
                        "(60, or as before)")  # fmt: skip
    parser.add_argument("--log", choices=("text", "json"), default="text", help="lines for people or machines (text)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
