"""Everything we want to know of a GPU, in one go. Needs torch, transformers and numpy; no ray, no rasterio.

  python -m tests.benchmarks.bench_gpu --minutes 8 [--out FOLDER] [--scenes FOLDER]     on a GPU
  python -m tests.benchmarks.bench_gpu --tiny                                           on the CPU: does it run?

The embedded detector, and RT-DETRv2 of the shapes R18 and R50 with random weights: tiles of 512, 640 and 1024 px,
batches of 1 to 64, float32 and bfloat16, channels last or not, torch.compile, the attention probe, transfers from
pinned memory that overlap. A row a case: tiles/s, Mpx/s, share of the time that the GPU computes, peak memory. Then
AP50 of the embedded detector in bfloat16 beside float32, on prepared scenes (``--scenes``, made by ``train_detector.py
prepare``) or on procedural harbours. The most useful cases come first; what the minutes do not
reach is listed.
Writes ``gpu.json`` and ``gpu.md``. A tile is uint8 in memory when the clock starts and scores and boxes in memory when
it stops.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


from tests.benchmarks.gpu_precision import ALLOWED_AP, compared
from tests.benchmarks.gpu_runner import Model, Runner, cases, embedded, library, tiny_cases

COMPILE_S = 90.0
"""A case with torch.compile is begun only where so many seconds are left."""


def measure(given: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """All cases that the minutes reach, and the comparison."""
    until = time.monotonic() + 60 * given.minutes
    wanted = tiny_cases() if given.tiny else cases()
    models: dict[str, Model] = {}
    rows: list[dict[str, Any]] = []
    left: list[str] = []
    first = 5 if given.tiny else 6
    report: dict[str, Any] = {"device": named(device), "torch": torch.__version__,
                              "transformers": transformers.__version__, "rows": rows, "not_reached": left}  # fmt: skip
    for number, case in enumerate(wanted):
        if number == first:
            report["ap50"] = compared(device, given.scenes, 128 if given.tiny else 512, 1 if given.tiny else 64)
        remaining = until - time.monotonic()
        if remaining < (COMPILE_S if case.compiled else 3):
            left.append(json.dumps(asdict(case)))
            continue
        if case.model not in models:
            own = case.model == "ships-s2"
            models[case.model] = embedded(device) if own else library(case.model, device, given.tiny)
        try:
            figures = Runner(case, models[case.model], device).run(0.0 if given.tiny else 2.0, 1 if given.tiny else 3)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            figures = {"out_of_memory": True}
        rows.append({**asdict(case), **figures})
        print(row_of(rows[-1]), flush=True)
    return report


def named(device: torch.device) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


HEAD = "| model | px | batch | dtype | switches | tiles/s | Mpx/s | ms a batch | GPU busy | peak MB |"


def row_of(row: dict[str, Any]) -> str:
    """One line of the table."""
    switches = [name for name in ("compiled", "probe") if row[name]]
    switches += [f"not {name}" for name in ("channels_last", "overlapped") if not row[name]]
    parts = [row["model"], row["px"], row["batch"], row["dtype"], ", ".join(switches)]
    if "out_of_memory" in row:
        return f"| {' | '.join(map(str, parts))} | out of memory | | | | |"
    busy, peak = (row.get(name) for name in ("busy", "peak_mb"))
    parts += [f"{row['tiles_s']:.1f}", f"{row['mpx_s']:.1f}", f"{row['ms_batch']:.1f}"]
    parts += ["" if busy is None else f"{100 * busy:.0f} %", "" if peak is None else f"{peak:.0f}"]
    return f"| {' | '.join(map(str, parts))} |"


def table(report: dict[str, Any]) -> str:
    """The page."""
    ap = report.get("ap50")
    lines = [f"{report['device']}, torch {report['torch']}, transformers {report['transformers']}", "", HEAD,
             f"|{'---|' * HEAD.count(' | ')}---|", *map(row_of, report["rows"])]  # fmt: skip
    if ap:
        verdict = "as allowed" if ap["as_allowed"] else f"more than the {ALLOWED_AP} allowed"
        found = f"float32 {ap['float32']}, bfloat16 {ap['bfloat16']}, {ap['apart']} apart, {verdict}"
        lines += ["", f"AP50 of ships-s2 on {ap['chips']} chips of {ap['of']}: {found}."]
    if report["not_reached"]:
        lines += ["", f"{len(report['not_reached'])} cases were not reached: give more --minutes."]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 2 where there is no GPU and it is not said that none is meant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("bench_gpu"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--scenes", type=Path, help="prepared scenes for the comparison of AP (harbours)")
    parser.add_argument("--tiny", action="store_true", help="small cases, on the CPU")
    given = parser.parse_args(argv)
    if not given.tiny and not torch.cuda.is_available():
        print("there is no GPU here; --tiny runs small cases on the CPU", file=sys.stderr)
        return 2
    device = torch.device("cpu" if given.tiny else "cuda")
    if given.tiny:
        torch.set_num_threads(1)
    print(HEAD, flush=True)
    report = measure(given, device)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.json").write_text(json.dumps(report, indent=2) + "\n")
    (given.out / "gpu.md").write_text(table(report))
    print("\n".join(table(report).splitlines()[-3:]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
