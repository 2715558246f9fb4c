"""Fail when a test was skipped for a reason that nobody agreed to: ``check_skips.py report.xml allowed-skips.txt``."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main() -> int:
    """Print every skip; return 1 when one is not on the list."""
    report, allowed_file = sys.argv[1:3]
    lines = Path(allowed_file).read_text().splitlines()
    allowed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    bad = 0
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own file, written a moment ago
        for skipped in case.iter("skipped"):
            name = f"{case.get('classname')}::{case.get('name')}"
            known = any(name.startswith(entry) for entry in allowed)
            bad += not known
            print(f"{'allowed' if known else 'NOT ALLOWED'} skip: {name}: {skipped.get('message')}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
