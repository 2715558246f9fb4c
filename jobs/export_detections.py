"""Write the detections of all scenes in an output folder, or some of them, to one file for other programs."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.ending import job
from pipeline import __version__
from pipeline.errors import ConfigError
from pipeline.names import quoted, shown

EXAMPLE = """\
examples:
  {prog} results --file ships.gpkg
  {prog} s3://bucket/results --bbox 9.5,53.4,10.2,53.7 --since 2023-06 --until 2023-08 --file elbe.parquet
  {prog} results --where "length_m > 100 and class_name in ('ship', 'tanker')" --min-score 0.6 --file large.geojson
  {prog} results --bbox 177,-20,-178,-15 --to csv --file fiji.txt

OUT is the --out of kestrel detect, a folder or an address; its scenes may be of any CRS. Everything is written in
longitude and latitude (WGS 84). Of an object in several scenes of one pass only the best view is written.

--where takes comparisons of columns with numbers and 'texts' (=, !=, <, <=, >, >=, in (...), between ... and ...,
is null, is not null), joined by and, or, not and brackets. A detection is inside of --bbox when its centre is.
Times are ISO 8601, UTC unless they say otherwise; --until 2023-08 means until the end of August.

exit codes: 0 done, 2 something in the command is wrong or OUT holds no results, 5 a store cannot be read or written"""

SUFFIXES = {"fgb": "fgb", "gpkg": "gpkg", "geojson": "geojson", "json": "geojson", "csv": "csv", "pmtiles": "pmtiles",
            "parquet": "parquet"}  # fmt: skip


@job("interrupted; no file was written")
def main(argv: Sequence[str] | None = None, prog: str = "export_detections.py") -> int:
    """Write the file; return the exit code."""
    arguments = build_parser(prog).parse_args(joined(sys.argv[1:] if argv is None else argv))
    to = arguments.to or SUFFIXES.get(Path(arguments.file).suffix.lower().removeprefix("."))
    if to is None:
        raise ConfigError(f"--file {quoted(arguments.file)} names no format by its ending; say --to")
    from pipeline.catalogue.export import export  # late: --help answers at once
    from pipeline.outputs.selection import Selection

    selection = Selection(
        where=arguments.where,
        bbox=None if arguments.bbox is None else bounds(arguments.bbox),
        since=moment("since", arguments.since),
        until=moment("until", arguments.until),
        classes=tuple(arguments.classes or ()),
        min_score=arguments.min_score,
    )
    if selection.since is not None and selection.until is not None and selection.until <= selection.since:
        raise ConfigError(
            f"--until {quoted(arguments.until)} ends before --since {quoted(arguments.since)} begins; exchange the two"
        )
    if selection.min_score is not None and not 0 <= selection.min_score <= 1:
        raise ConfigError(f"--min-score {selection.min_score:g} is no score: they lie from 0 to 1")
    done = export(arguments.out, selection, to, arguments.file, every_view=arguments.all_views)
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{shown(arguments.file)}: {done.rows} detections")
    return 0


def joined(given: Sequence[str]) -> list[str]:
    """The command line with ``--bbox -10,…`` as one word: argparse takes a second that begins so for a flag."""
    words = list(given)
    for place in range(len(words) - 2, -1, -1):
        if words[place] == "--bbox":
            words[place : place + 2] = [f"--bbox={words[place + 1]}"]
    return words


def bounds(text: str) -> tuple[float, float, float, float]:
    """West, south, east, north of ``--bbox``. Raises ConfigError."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--bbox {quoted(text)} is not WEST,SOUTH,EAST,NORTH in degrees") from None
    sound = all(math.isfinite(one) for one in (west, south, east, north)) and -90 <= south <= north <= 90
    if not sound or not (-180 <= west <= 180 and -180 <= east <= 180):
        raise ConfigError(
            f"--bbox {quoted(text)}: longitudes lie in -180 to 180 (west beyond east: across ±180), latitudes in -90 "
            "to 90, south first"
        )
    return west, south, east, north


def moment(flag: str, text: str | None) -> datetime | None:
    """The beginning of a span of time, or its end for ``until``. Raises ConfigError."""
    from pipeline.outputs.times import span

    if text is None:
        return None
    known = span(text)
    if known is None:
        raise ConfigError(f"--{flag} {quoted(text)} is no time: write 2023-07, 2023-07-14 or 2023-07-14T10:20:30Z")
    return known[1] if flag == "until" else known[0]


def build_parser(prog: str) -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, epilog=EXAMPLE.format(prog=prog), allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--version", action="version", version=f"kestrel {__version__}")
    add("out", metavar="OUT", help="the --out of kestrel detect: a folder, or an address such as s3://…")
    add("--file", required=True, metavar="PATH", help="what to write; a file that is there is replaced in the end")
    add("--to", choices=sorted(set(SUFFIXES.values())), help="format (default: what the ending of --file says)")
    add("--where", metavar="CONDITION", help="only detections of which this holds")
    add("--bbox", metavar="W,S,E,N", help="only those in these bounds, degrees; W may be beyond E, across ±180")
    add("--since", metavar="TIME", help="only scenes taken at this time or later")
    add("--until", metavar="TIME", help="only scenes taken until then, all of the day or month that is named")
    add("--class", dest="classes", action="append", metavar="NAME", help="only this class; may be said several times")
    add("--min-score", type=float, metavar="SCORE", help="only this score or higher")
    add("--all-views", action="store_true", help="also the further views of objects that several scenes of a pass show")
    return parser


if __name__ == "__main__":
    sys.exit(main())
