"""One tick over scenes that arrive: list a feed, detect what is new, publish, tell the catalogue, exit.

python jobs/ingest_scenes.py --feed FEED.yaml --out s3://bucket/results
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # an unpacked copy need not be installed

from jobs.detect_scene import ending, interrupted
from jobs.ending import EXIT_UNREAD, printing
from jobs.stopping import Stops
from pipeline.command_line import wants_json
from pipeline.ingest.command import check, parser
from pipeline.reporting.journal import Journal, libraries_in


def main(argv: Sequence[str] | None = None, prog: str = "ingest_scenes.py") -> int:
    """One tick; return the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    journal = Journal(form="json" if wants_json(given) else "text")

    def late(exit_code: int) -> None:
        interrupted(journal, exit_code)
        journal.emit("ingest_ended", f"exit code {exit_code}", exit_code=exit_code)

    with Stops(late) as stops:
        try:
            with printing():
                arguments = parser(prog).parse_args(given)
                check(arguments)
                with libraries_in(journal):
                    from pipeline.ingest.verbs import ingest  # imports torch; --help must not wait for it

                    exit_code = ingest(arguments, journal, partial(print, flush=True))
        except SystemExit as error:  # argparse has said what it had to say
            return int(error.code or 0)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again unless known
            exit_code = ending(error, journal, stops)
        if exit_code != EXIT_UNREAD:
            journal.emit("ingest_ended", f"exit code {exit_code}", exit_code=exit_code)
        return exit_code


if __name__ == "__main__":
    sys.exit(main())
