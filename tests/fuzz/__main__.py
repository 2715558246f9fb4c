"""``python -m tests.fuzz --cases 20000 --seed 0``: the whole hunt, its table, and the bytes of what went wrong."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.hunt import hunt, save_defects, table


def main() -> int:
    """Print the table; 0 when there was no defect and enough cases reached the decoding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="damaged files to try (20000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to repeat a single case")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("--deadline", type=float, default=20.0, help="seconds a case may take (20)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-defects"), help="folder for the bytes of defects")
    asked = parser.parse_args()
    started = time.perf_counter()
    tallies = hunt(asked.cases, asked.seed, workers=asked.workers, deadline_s=asked.deadline, first=asked.first)
    print(table(tallies))
    defects = list(save_defects(tallies, asked.seed, asked.keep))
    print(*defects, sep="\n")
    decoded = sum(tally.decoded for tally in tallies.values()) / asked.cases
    print(f"{asked.cases} cases, {decoded:.0%} decoded, {len(defects)} defects, {time.perf_counter() - started:.0f} s")
    return 1 if defects or (asked.cases >= 1000 and decoded < 0.3) else 0


if __name__ == "__main__":
    sys.exit(main())
